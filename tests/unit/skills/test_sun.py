"""Sunrise and sunset, from the sun of Home Assistant."""

from __future__ import annotations

from barnabee.skills import sun
from support.home import FakeHome
from support.skills import SkillDialogue


async def test_the_next_sunset_is_told_in_the_time_of_the_home() -> None:
    home = FakeHome()
    home.add("sun.sun", "Sun", "above_horizon", next_setting="2026-11-28T15:31:00+00:00")
    reply = await SkillDialogue((sun.SKILL,), home=home).say("when is sunset?")
    assert reply is not None
    assert reply.text == "The sun sets today at four thirty-one in the afternoon."


async def test_without_a_sun_the_reason_is_told() -> None:
    reply = await SkillDialogue((sun.SKILL,)).say("when does the sun rise")
    assert reply is not None
    assert reply.code == "not_found"
    assert "no sun" in reply.text


async def test_without_home_assistant_the_reason_is_told() -> None:
    reply = await SkillDialogue((sun.SKILL,), home=None).say("when does the sun rise")
    assert reply is not None
    assert reply.code == "not_configured"

"""The time, by the sentences that ask for it. It is Saturday 15:20."""

from __future__ import annotations

import pytest

from barnabee.skills import clock, dates
from barnabee.skills.clock import find_zone, has_several_zones
from support.skills import NOW, SkillDialogue


async def ask(text: str, hour: int = 15, minute: int = 20) -> str | None:
    now = NOW.replace(hour=hour, minute=minute)
    reply = await SkillDialogue((clock.SKILL, dates.SKILL), now=now).say(text)
    return reply.text if reply else None


@pytest.mark.parametrize(
    ("hour", "minute", "expected"),
    [
        (0, 0, "It's midnight."),
        (12, 0, "It's twelve noon."),
        (0, 5, "It's five past twelve in the morning."),
        (7, 30, "It's half past seven in the morning."),
        (15, 20, "It's twenty past three in the afternoon."),
        (16, 45, "It's quarter to five in the afternoon."),
        (19, 7, "It's seven oh seven in the evening."),
        (23, 0, "It's eleven o'clock at night."),
        (9, 41, "It's nine forty-one in the morning."),
    ],
)
async def test_the_time_is_told_in_words(hour: int, minute: int, expected: str) -> None:
    assert await ask("What time is it?", hour=hour, minute=minute) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what time is it in London", "It's twenty past two in the afternoon in London."),
        ("what's the time in New York?", "It's twenty past nine in the morning in New York."),
        ("time in Sydney", "It's twenty past one in the morning tomorrow in Sydney."),
        ("what time is it in India", "It's ten to eight in the evening in India."),
        ("what time is it in the USA", "There are several time zones in the USA."),
        ("what time is it in Atlantis", "I don't know what time it is in Atlantis."),
        ("what time is it here", None),
        ("what time will it be in three hours", "It will be twenty past six in the evening."),
        ("what time is it in ten hours", "It will be twenty past one in the morning tomorrow."),
        ("what time was it half an hour ago", "It was ten to three in the afternoon."),
        ("how long until seven pm", "Three hours and forty minutes."),
        ("how many hours until midnight", "Eight hours and forty minutes."),
        ("how long until three", "Eleven hours and forty minutes."),
    ],
)
async def test_other_times(text: str, expected: str | None) -> None:
    reply = await ask(text)
    assert (reply or "").startswith(expected or "")


async def test_the_clock_change_is_counted() -> None:
    now = NOW.replace(month=3, day=29, hour=1, minute=30)  # at two it becomes three
    reply = await SkillDialogue((clock.SKILL,), now=now).say("what time will it be in an hour")
    assert reply is not None
    assert reply.text == "It will be half past three in the morning."


@pytest.mark.parametrize(
    ("place", "zone"),
    [
        ("London", "Europe/London"),
        ("new york", "America/New_York"),
        ("the Netherlands", "Europe/Amsterdam"),
        ("São Paulo", "America/Sao_Paulo"),
        ("Mumbai", "Asia/Kolkata"),
        ("Kyiv", "Europe/Kyiv"),
        ("San Francisco", "America/Los_Angeles"),
        ("Honolulu", "Pacific/Honolulu"),
        ("Atlantis", None),
        ("../../etc/passwd", None),
        ("", None),
    ],
)
def test_cities_and_countries_have_a_zone(place: str, zone: str | None) -> None:
    found = find_zone(place)
    assert (found.key if found else None) == zone


def test_a_large_country_has_several() -> None:
    assert has_several_zones("the USA")
    assert find_zone("the USA") is None
    assert not has_several_zones("France")

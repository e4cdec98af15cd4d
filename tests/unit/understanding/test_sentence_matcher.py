"""Matching of sentences. It is Saturday, 28 November 2026, 10:00 in Amsterdam."""

from __future__ import annotations

from datetime import datetime, time, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.skills import load_skills
from barnabee.understanding.sentence_matcher import SentenceMatcher, clean_sentence
from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)

ZONE = ZoneInfo("Europe/Amsterdam")
NOW = datetime(2026, 11, 28, 10, 0, tzinfo=ZONE)
ALL_SKILLS = SentenceMatcher(load_skills())


async def never(call: SkillCall, context: SkillContext) -> SkillReply | None:
    return None


def make_matcher(*sentences: str, **slots: Slot) -> SentenceMatcher:
    named = SkillIntent("it", "do it", sentences, slots)
    return SentenceMatcher([Skill("test", (named,), never)])


def match(matcher: SentenceMatcher, text: str) -> dict[str, Any] | None:
    calls = matcher.match(text, NOW)
    return dict(calls[0].slots) if calls else None


TEXT, OPTIONAL = Slot(), Slot(is_required=False)
TIMER = make_matcher(
    "[(set|start)] [a|an|the] timer for {duration} [(called|named) {name}]",
    "[(set|start)] [a|an] {duration} [{name}] timer",
    duration=Slot("duration"),
    name=OPTIONAL,
)
REMINDER = make_matcher(
    "remind me to {what} {moment}",
    "remind me {moment} to {what}",
    what=TEXT,
    moment=Slot("moment"),
)
LIST = make_matcher("add {items} to [my|the] [{list}] list", items=TEXT, list=OPTIONAL)
ALARM = make_matcher(
    "wake me at {time} [on {days}]", time=Slot("time"), days=Slot("weekdays", is_required=False)
)
FORECAST = make_matcher("forecast [[for] {day}|for the week]", day=Slot("date", is_required=False))


@pytest.mark.parametrize(
    ("matcher", "text", "slots"),
    [
        (TIMER, "Set a timer for ten minutes.", {"duration": timedelta(minutes=10)}),
        (TIMER, "timer for 10 minutes!", {"duration": timedelta(minutes=10)}),
        (
            TIMER,
            "start a timer for an hour and a half called Roast Beef",
            {"duration": timedelta(minutes=90), "name": "Roast Beef"},
        ),
        (
            TIMER,
            "set a ten minute pasta timer",
            {"duration": timedelta(minutes=10), "name": "pasta"},
        ),
        (TIMER, "a five-minute timer", {"duration": timedelta(minutes=5)}),
        (TIMER, "set a timer for ten bananas", None),
        (TIMER, "set a timerfor ten minutes", None),
        (TIMER, "please set a timer for ten minutes", None),
        (
            REMINDER,
            "remind me to look at the oven at eight",
            {"what": "look at the oven", "moment": datetime(2026, 11, 28, 20, tzinfo=ZONE)},
        ),
        (
            REMINDER,
            "Remind me tomorrow at nine, to call Grandma",
            {"what": "call Grandma", "moment": datetime(2026, 11, 29, 9, tzinfo=ZONE)},
        ),
        (
            LIST,
            "add milk, eggs and bread to the shopping list",
            {"items": "milk, eggs and bread", "list": "shopping"},
        ),
        (LIST, "add milk to my list", {"items": "milk"}),
        (LIST, "add Earl Grey to the list", {"items": "Earl Grey"}),
        (ALARM, "wake me at seven", {"time": time(19, 0)}),
        (ALARM, "wake me at seven on weekdays", {"time": time(7, 0), "days": frozenset(range(5))}),
        (FORECAST, "forecast", {}),
        (FORECAST, "forecast for the week", {}),
        (FORECAST, "forecast for tomorrow", {"day": NOW.date() + timedelta(1)}),
    ],
)
def test_sentences_have_slots(
    matcher: SentenceMatcher, text: str, slots: dict[str, Any] | None
) -> None:
    assert match(matcher, text) == slots


@pytest.mark.parametrize(
    "text",
    [
        "what's the time",
        "What is the time?",
        "what\u2019s the time",
        "WHATS THE TIME",
        "“what's the time”",
    ],
)
def test_writing_does_not_matter(text: str) -> None:
    assert match(make_matcher("what's the time"), text) == {}
    assert match(make_matcher("what is the [current] time"), text) == {}


def test_the_sentence_with_the_fewest_free_words_comes_first() -> None:
    skill = Skill(
        "test",
        (
            SkillIntent("any", "do any", ("tell me {what}",), {"what": TEXT}),
            SkillIntent("about", "tell about", ("tell me about {what}",), {"what": TEXT}),
            SkillIntent("story", "tell a story", ("tell me about the sea",)),
        ),
        never,
    )
    calls = SentenceMatcher([skill]).match("tell me about the sea", NOW)
    assert [call.intent for call in calls] == ["story", "about", "any"]


def test_a_bad_template_names_itself_and_its_intent() -> None:
    for sentence in ("turn [on", "turn {nothing}", "<rule> on", "from {what} to {what}"):
        with pytest.raises(ValueError, match="of it:"):
            make_matcher(sentence, what=TEXT)


@given(st.text(max_size=80))
def test_no_text_is_an_error(text: str) -> None:
    for call in ALL_SKILLS.match(text, NOW):
        assert call.text == clean_sentence(text) or call.text == clean_sentence(text).lower()


@given(st.text(alphabet="what is the a5 to for in ten of,:-'", min_size=200, max_size=400))
def test_long_texts_are_matched_without_explosion(text: str) -> None:
    ALL_SKILLS.match(text, NOW)

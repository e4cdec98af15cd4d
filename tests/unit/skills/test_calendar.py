"""The calendar, by the sentences that ask for it."""

from __future__ import annotations

import pytest

from barnabee.skills import calendar
from barnabee.understanding.appointments import say_day
from support.home import FakeHome
from support.skills import NOW, SkillDialogue

EVENTS = [
    {"start": "2026-11-28", "end": "2026-11-29", "summary": "Grandma's birthday"},
    {
        "start": "2026-11-28T10:00:00+01:00",
        "end": "2026-11-28T11:30:00+01:00",
        "summary": "Football match",
    },
    {
        "start": "2026-11-29T11:30:00+00:00",
        "end": "2026-11-29T13:30:00+00:00",
        "summary": "Lunch with the grandparents",
    },
    {
        "start": "2026-11-30T16:00:00+01:00",
        "end": "2026-11-30T17:00:00+01:00",
        "summary": "Swimming lesson",
    },
]


@pytest.fixture
def home() -> FakeHome:
    home = FakeHome()
    home.add("calendar.family", "Family")
    home.responses["calendar.get_events"] = {"calendar.family": {"events": EVENTS}}
    return home


@pytest.mark.parametrize(
    ("sentence", "reply"),
    [
        ("what's on my calendar", "Today: Grandma's birthday."),
        ("what's on the calendar tomorrow", "Tomorrow: Lunch with the grandparents at 12:30 PM."),
        ("what do we have on Monday", "On Monday: Swimming lesson at 4 PM."),
        ("am I free on Monday", "No. On Monday: Swimming lesson at 4 PM."),
        ("am I free on Tuesday", "Yes. Nothing is on the calendar on Tuesday."),
        ("do we have anything on Tuesday", "No. Nothing is on the calendar on Tuesday."),
        (
            "what's my next appointment",
            "Next is Lunch with the grandparents, tomorrow at 12:30 PM.",
        ),
        ("when is the swimming lesson", "Swimming lesson is on Monday at 4 PM."),
        ("am I busy on Monday afternoon", "Yes. On Monday: Swimming lesson at 4 PM."),
        (
            "what time is lunch with the grandparents",
            "Lunch with the grandparents is tomorrow at 12:30 PM.",
        ),
        ("cancel my dentist appointment", calendar.CANNOT_REMOVE),
        ("when's grandma's birthday", "Grandma's birthday is today."),
        (
            "what are we doing this weekend",
            "Today: Grandma's birthday. Tomorrow: Lunch with the grandparents at 12:30 PM.",
        ),
    ],
)
async def test_appointments_are_told_as_asked(home: FakeHome, sentence: str, reply: str) -> None:
    answer = await SkillDialogue([calendar.SKILL], home).say(sentence)
    assert answer is not None
    assert answer.text == reply


async def test_the_whole_day_is_read_in_the_time_zone_of_the_home(home: FakeHome) -> None:
    await SkillDialogue([calendar.SKILL], home).say("what's on my calendar tomorrow")
    (call,) = home.called("calendar.get_events")
    assert call.data == {
        "start_date_time": "2026-11-29T00:00:00+01:00",
        "end_date_time": "2026-11-30T00:00:00+01:00",
    }


@pytest.mark.parametrize("sentence", ["when is grandpa's birthday", "when is easter"])
async def test_what_is_not_on_the_calendar_is_left_to_others(home: FakeHome, sentence: str) -> None:
    assert await SkillDialogue([calendar.SKILL], home).say(sentence) is None


@pytest.mark.parametrize(
    ("sentence", "start"),
    [
        ("add dentist to my calendar tomorrow at 3 pm", "2026-11-29T15:00:00+01:00"),
        ("put dentist on the calendar on Monday at 5", "2026-11-30T17:00:00+01:00"),
        ("add dentist to the calendar tomorrow at 6 in the morning", "2026-11-29T06:00:00+01:00"),
    ],
)
async def test_an_appointment_is_added(home: FakeHome, sentence: str, start: str) -> None:
    answer = await SkillDialogue([calendar.SKILL], home).say(sentence)
    assert answer is not None
    assert answer.acted
    (call,) = home.called("calendar.create_event")
    assert (call.data["summary"], call.data["start_date_time"]) == ("Dentist", start)


async def test_a_calendar_that_cannot_be_written_is_named(home: FakeHome) -> None:
    home.refusals["calendar.create_event"] = "the calendar is read-only"
    sentence = "add dentist to my calendar tomorrow at 3 pm"
    answer = await SkillDialogue([calendar.SKILL], home).say(sentence)
    assert answer is not None
    assert (answer.text, answer.acted) == (
        "I could not add it to the calendar: the calendar is read-only.",
        False,
    )


async def test_without_a_calendar_the_reply_says_what_to_add() -> None:
    answer = await SkillDialogue([calendar.SKILL], FakeHome()).say("what's on my calendar")
    assert answer is not None
    assert answer.text == calendar.NO_CALENDAR


def test_days_far_ahead_are_said_with_their_date() -> None:
    assert say_day(NOW.date().replace(year=2027), NOW.date()) == "on Sunday, November 28"

"""Dates, by the sentences that ask for them. Today is Saturday, 28 November 2026."""

from __future__ import annotations

import pytest

from barnabee.skills import dates
from support.skills import SkillDialogue


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("what's the date?", "Today is Saturday, November twenty-eighth."),
        ("What day is it today?", "Today is Saturday, November twenty-eighth."),
        ("what day is tomorrow", "Tomorrow is Sunday, November twenty-ninth."),
        ("what's the day after tomorrow", "That is Monday, November thirtieth."),
        ("what day was yesterday", "Yesterday was Friday, November twenty-seventh."),
        ("what is the date next Friday", "That is Friday, December fourth."),
        ("what date is it in three days", "That is Tuesday, December first."),
        ("what was the date a week ago", "That was Saturday, November twenty-first."),
        ("what day is Christmas this year?", "That is Friday, December twenty-fifth."),
        ("when is Easter", "That is Sunday, March twenty-eighth, twenty twenty-seven."),
        ("on what day does Halloween fall", "That is Sunday, October thirty-first"),
        ("what day of the week is the 4th of July 2027", "That is Sunday, July fourth"),
        ("how many days until Christmas", "There are 27 days until Friday, December"),
        ("how many weeks until Easter", "There are 17 weeks and 1 day until Sunday"),
        ("how many months until Easter", "There are 4 months until Sunday"),
        ("how many days until tomorrow", "There is 1 day until"),
        ("how long until New Year's Eve", "There are 33 days until Thursday"),
        ("is it Saturday today", "Yes, it's Saturday."),
        ("is today a weekday", "No, it's Saturday."),
        ("how many days are in February", "February 2027 has 28 days."),
        ("what year is it", "It's the year twenty twenty-six."),
        ("what month is it", "It's November."),
        ("what week is it", "It's week 48."),
        ("is this year a leap year", "No, twenty twenty-six is not a leap year. The next one is"),
        ("is twenty twenty eight a leap year", "Yes, twenty twenty-eight is a leap year."),
    ],
)
async def test_questions_about_days(text: str, expected: str) -> None:
    reply = await SkillDialogue((dates.SKILL,)).say(text)
    assert reply is not None
    assert reply.text.startswith(expected)


@pytest.mark.parametrize(
    "text", ["when is grandma's birthday", "what day is bin day", "what is it"]
)
async def test_questions_about_other_things_are_left_alone(text: str) -> None:
    assert await SkillDialogue((dates.SKILL,)).say(text) is None

"""The date: of today and of other days, how long until then, weeks and years."""

from __future__ import annotations

import calendar
import re
from collections.abc import Callable, Mapping
from datetime import date

from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)
from barnabee.understanding.spoken_dates import MONTHS, add_months
from barnabee.understanding.spoken_forms import say_day, say_year
from barnabee.understanding.spoken_numbers import replace_number_words

# Sentences that resemble "is it Saturday" and that today's date does not answer.
_OTHER_QUESTION = re.compile(r"(?:is|are|was|will|did|does|do(?! you know))\b", re.IGNORECASE)
_YEAR = re.compile(r"(?:the year )?(\d{4}|\d{2} \d{2})")


def tell_date(call: SkillCall, context: SkillContext) -> str:
    today = context.now.date()
    return _tell_day(call.slots.get("date") or today, today)


def _tell_day(day: date, today: date) -> str:
    openings = {0: "Today is", 1: "Tomorrow is", -1: "Yesterday was"}
    opening = openings.get((day - today).days) or ("That is" if day > today else "That was")
    return f"{opening} {say_day(day, today=today)}."


def compare_day(call: SkillCall, context: SkillContext) -> str:
    """Tell whether today is one of the weekdays."""
    is_today = context.now.weekday() in call.slots["days"]
    return f"{'Yes' if is_today else 'No'}, it's {context.now:%A}."


def count_days_of_month(call: SkillCall, context: SkillContext) -> str | None:
    name = call.slots["month"].lower().removeprefix("the month of ")
    today = context.now.date()
    named = {"this month": today.month, "next month": today.month % 12 + 1, **MONTHS}
    month = named.get(name)
    if month is None:
        return None
    year = today.year + int(month < today.month)
    count = calendar.monthrange(year, month)[1]
    return f"{calendar.month_name[month]} {year} has {count} days."


def tell_year(call: SkillCall, context: SkillContext) -> str:
    return f"It's the year {say_year(context.now.year)}."


def tell_month(call: SkillCall, context: SkillContext) -> str:
    return f"It's {context.now:%B}."


def tell_week_number(call: SkillCall, context: SkillContext) -> str:
    day = call.slots.get("date") or context.now.date()
    return f"It's week {day.isocalendar().week}."


def tell_leap_year(call: SkillCall, context: SkillContext) -> str | None:
    text = call.slots.get("year", "this year")
    shifts = {"this year": 0, "it": 0, "this": 0, "next year": 1, "last year": -1}
    year = context.now.year + shifts.get(text, 0)
    if text not in shifts:
        match = _YEAR.fullmatch(replace_number_words(text))
        if match is None or not int(match[1].replace(" ", "")) >= 1:
            return None
        year = int(match[1].replace(" ", ""))
    if calendar.isleap(year):
        return f"Yes, {say_year(year)} is a leap year."
    following = next(later for later in range(year, year + 9) if calendar.isleap(later))
    return f"No, {say_year(year)} is not a leap year. The next one is {say_year(following)}."


def count_days_until(call: SkillCall, context: SkillContext) -> str:
    today, day = context.now.date(), call.slots["date"]
    days = (day - today).days
    if days == 0:
        return "That's today."
    count, rest = divmod(abs(days), 7)
    amount = _say_count(abs(days), "day")
    if "week" in call.text.lower().partition(" until ")[0] and count:
        amount = _say_count(count, "week") + (f" and {_say_count(rest, 'day')}" if rest else "")
    elif "month" in call.text.lower().partition(" until ")[0]:
        amount = _say_months(min(today, day), max(today, day))
    if days < 0:
        return f"That was {amount} ago."
    verb = "is" if amount.startswith("1 ") and " and " not in amount else "are"
    return f"There {verb} {amount} until {say_day(day, today=today)}."


def _say_months(start: date, end: date) -> str:
    months = (end.year - start.year) * 12 + end.month - start.month
    months -= int(add_months(start, months) > end)
    days = (end - add_months(start, months)).days
    parts = [_say_count(months, "month")] if months else []
    return " and ".join([*parts, *([_say_count(days, "day")] if days else [])])


def _say_count(count: int, unit: str) -> str:
    return f"{count} {unit}{'s' if count > 1 else ''}"


_DATE = {"date": Slot("date", "the day, like 'next Friday', 'Easter' or 2027-05-01")}
_ANSWERS: Mapping[str, Callable[[SkillCall, SkillContext], str | None]] = {
    "date": tell_date,
    "date_of": tell_date,
    "weekday_check": compare_day,
    "days_of_month": count_days_of_month,
    "year": tell_year,
    "month": tell_month,
    "week_number": tell_week_number,
    "leap_year": tell_leap_year,
    "days_until": count_days_until,
}


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    if call.intent == "date" and _OTHER_QUESTION.match(call.text):
        return None
    text = _ANSWERS[call.intent](call, context)
    return None if text is None else SkillReply(text)


SKILL = Skill(
    "dates",
    (
        SkillIntent(
            "date",
            "tell you the date",
            (
                "what is [the] date [(today|now)]",
                "(what|which) day is [it] [today]",
                "(what|which) (date|day of the week|weekday) is it [today]",
                "what is [the] (date|day|weekday) today",
                "(what|which) (date|day) (do we have|have we got|are we on) [today]",
                "what is today",
                "what is (today's|todays) (date|day)",
                "what is the [current] (day|date) [today]",
                "(today's|todays|[the] current) date",
                "(tell me|say) [what] [the] (date|day) [it is] [today]",
                "tell me (today's|todays) date",
                "do you know what (day|date) it is [today]",
            ),
        ),
        SkillIntent(
            "date_of",
            "tell you the date of a day",
            (
                "what (is|was|will be) the (date|day|weekday) [(on|of)] {date}",
                (
                    "(what|which) (day|date|weekday|day of the week) (is|was|will) "
                    "[it] [be] [on] {date}"
                ),
                (
                    "[on] (what|which) (day|date|weekday|day of the week) (is|was|does|will) "
                    "{date} [(fall|falls|be|fall on|be on)]"
                ),
                "when (is|was|does|do we have) {date}",
                "what is {date}",
                "what [day] was [it] {date}",
                "(tell me|what will be) the (date|day) [(on|of)] {date}",
            ),
            _DATE,
        ),
        SkillIntent(
            "days_until",
            "count the days until a day",
            (
                (
                    "how many (days|weeks|months|sleeps) "
                    "[(is it|are there|are left|left|do we have)] (until|till|til|to|before) {date}"
                ),
                "how long [(is it|do we have|do i have)] (until|till|til|to) {date}",
                "[how many] (days|weeks|months|sleeps) (until|till|to) {date}",
                "how (far away|far off|soon) is {date}",
                "count [down] [the days] (until|till|to) {date}",
            ),
            _DATE,
        ),
        SkillIntent(
            "weekday_check",
            "tell you whether it is a certain day",
            ("is (it|today) [a] {days} [today]", "is today [a] {days}"),
            {"days": Slot("weekdays", "the weekdays, like 'Monday' or 'the weekend'")},
        ),
        SkillIntent(
            "days_of_month",
            "count the days of a month",
            (
                "how many days (are|are there) in {month}",
                "how many days (does|has|in) {month} [have]",
            ),
            {"month": Slot(description="the month")},
        ),
        SkillIntent(
            "year",
            "tell you the year",
            (
                "(what|which) year is it [now]",
                "what is the [current] year",
                "which year do we have",
            ),
        ),
        SkillIntent(
            "month",
            "tell you the month",
            ("(what|which) month is it [now]", "what is the [current] month"),
        ),
        SkillIntent(
            "week_number",
            "tell you the number of the week",
            (
                "(what|which) [calendar] week [number] (is it|is this|are we in|do we have) [now]",
                "what is the [current] [calendar] week [number]",
                "(what|which) [calendar] week [number] is {date}",
            ),
            {"date": Slot("date", "a day of that week", is_required=False)},
        ),
        SkillIntent(
            "leap_year",
            "tell you whether a year is a leap year",
            ("is {year} a leap year", "(was|will) {year} [be] a leap year"),
            {"year": Slot(description="the year")},
        ),
    ),
    handle,
)

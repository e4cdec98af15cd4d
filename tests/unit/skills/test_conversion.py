"""Conversion of units."""

from __future__ import annotations

import pytest

from barnabee.skills import conversion
from support.skills import SkillDialogue


async def ask(text: str) -> str | None:
    reply = await SkillDialogue((conversion.SKILL,)).say(text)
    return reply.text if reply else None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("convert 5 miles to kilometers", "5 miles are about 8.05 kilometers."),
        ("what is 350 Fahrenheit in Celsius", "350 degrees Fahrenheit are about 177 degrees"),
        ("What's 350 degrees in Celsius?", "350 degrees Fahrenheit are about 177 degrees"),
        ("20 degrees Celsius in Fahrenheit", "20 degrees Celsius are 68 degrees Fahrenheit."),
        ("how many cups in a liter", "1 liter is about 4.23 cups."),
        ("how many ounces are in a pound", "1 pound is 16 ounces."),
        ("how many ounces in a cup", "1 cup is 8 ounces."),
        ("how many teaspoons in a tablespoon", "1 tablespoon is 3 teaspoons."),
        ("how many grams is a cup of flour", "1 cup of flour is about 125 grams."),
        ("how many grams in two cups of sugar", "2 cups of sugar are about 400 grams."),
        ("what's half a cup in milliliters", "0.5 cup is about 118 milliliters."),
        ("convert two and a half pounds to kilograms", "2.5 pounds are about 1.13 kilograms."),
        ("how many kilos is 180 pounds", "180 pounds are about 81.6 kilos."),
        ("how tall is 180 centimeters in feet", "180 centimeters are about 5 feet 11 inches."),
        ("what is 5 feet 11 in centimeters", "That's about 180 centimeters."),
        ("how many minutes in a day", "1 day is 1440 minutes."),
        ("how many days in a year", "A year has 365 days, a leap year 366."),
        ("what is 100 kilometers per hour in mph", "100 kilometers per hour are about 62.1 mph."),
        ("convert 5 miles to pounds", "Miles and pounds do not measure the same thing."),
        ("how many dollars is 20 euros", "I don't know today's exchange rates."),
    ],
)
async def test_units_are_converted(text: str, expected: str) -> None:
    assert (await ask(text) or "").startswith(expected)


@pytest.mark.parametrize(
    "text",
    [
        "how many people in a house",
        "what is 5 in the kitchen",
        "turn 5 lights to blue",
        "how many lights are on in the kitchen",
        "what is 5 __import__ in os",
    ],
)
async def test_what_is_no_unit_is_left_alone(text: str) -> None:
    assert await ask(text) is None

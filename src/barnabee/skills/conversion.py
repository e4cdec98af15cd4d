"""Conversion of units, and of cups of common ingredients into grams."""

from __future__ import annotations

import asyncio
import math
import re
from functools import cache
from tokenize import TokenError
from typing import TYPE_CHECKING, Any

from barnabee.skills.arithmetic import say_result
from barnabee.understanding.skill import (
    Skill,
    SkillCall,
    SkillContext,
    SkillIntent,
    SkillReply,
    Slot,
)

if TYPE_CHECKING:
    import pint

# What Pint's parser raises for words that are no unit, some of it from Python's tokenizer.
_UNKNOWN_UNIT = (
    *(ArithmeticError, AssertionError, AttributeError, LookupError),
    *(SyntaxError, TokenError, TypeError, ValueError),
)
# Names that Pint lacks or reads otherwise, in the singular.
_ALIASES = {
    **dict.fromkeys(("degree celsius", "celsius", "centigrade", "degree centigrade"), "degC"),
    **dict.fromkeys(("degree fahrenheit", "fahrenheit"), "degF"),
    "c": "degC",
    "f": "degF",
    "kelvin": "kelvin",
    "kilo": "kilogram",
    "km": "kilometer",
    "k": "kilometer",
    "mile per hour": "mile/hour",
    "mph": "mile/hour",
    "kilometer per hour": "kilometer/hour",
    "kilometre per hour": "kilometer/hour",
    "km/h": "kilometer/hour",
    "kph": "kilometer/hour",
    "meter per second": "meter/second",
    "metre per second": "meter/second",
    "square meter": "meter**2",
    "square metre": "meter**2",
    "square foot": "foot**2",
    "square kilometer": "kilometer**2",
    "square kilometre": "kilometer**2",
    "square mile": "mile**2",
    "square yard": "yard**2",
    "square inch": "inch**2",
    "cubic meter": "meter**3",
    "cubic metre": "meter**3",
    "cubic foot": "foot**3",
    "foot": "foot",
    "feet": "foot",
    "inches": "inch",
    "stone": "stone",
    "stones": "stone",
    "fluid ounce": "fluid_ounce",
    "tonne": "tonne",
    "calorie": "kilocalorie",
    "light year": "light_year",
    "nautical mile": "nautical_mile",
    "metric cup": "metric_cup",
    "imperial pint": "imperial_pint",
    "imperial gallon": "imperial_gallon",
    "metric ton": "tonne",
    "pound": "pound",
    "lb": "pound",
    "ounce": "ounce",
    "oz": "ounce",
}
_SPOKEN = {"degC": "degrees Celsius", "degF": "degrees Fahrenheit"}
_TEMPERATURES = {"degC", "degF"}
_ARTICLE = re.compile(r"^(?:a|an|the) ", re.IGNORECASE)
_NAME = re.compile(r"[a-z][a-z/ ]{0,40}")
# Grams in a US cup.
_CUP_GRAMS = {
    "flour": 125,
    "sugar": 200,
    "brown sugar": 213,
    "powdered sugar": 120,
    "butter": 227,
    "rice": 185,
    "milk": 245,
    "water": 237,
    "honey": 340,
    "oil": 218,
    "cocoa": 85,
    "oats": 90,
    "icing sugar": 120,
    "cocoa powder": 85,
    "all purpose flour": 125,
    "cream": 240,
    "olive oil": 216,
    "salt": 290,
    "chocolate chips": 170,
    "yogurt": 245,
    "yoghurt": 245,
}
_CUPS = {"cup": 1.0, "tablespoon": 1 / 16, "teaspoon": 1 / 48}
_MONEY = {"dollar", "euro", "yen", "franc", "rupee", "peso", "krona", "yuan"}
TENS, HUNDREDS, MAX_FEET = 10, 100, 10
_NO_RATES = "I don't know today's exchange rates."
_YEAR_DAYS = "A year has 365 days, a leap year 366."


def convert(amount: float, unit: str, target: str) -> str | None:
    """Return the reply to a conversion; None when one of the names is no unit."""
    source, goal = _singular(unit), _singular(target)
    if source in _MONEY or goal in _MONEY:
        return _NO_RATES
    if amount == 1 and (source, goal) == ("year", "day"):
        return _YEAR_DAYS
    if (grams := _weigh(source, goal)) is not None:
        weight = f"about {round(amount * grams)} {target}"
        return f"{say_result(amount)} {unit} {_be(amount)} {weight}."
    source, goal = _choose_ounce(source, goal), _choose_ounce(goal, source)
    import pint  # noqa: PLC0415 - takes most of a second; loaded with the first conversion

    registry = _load_registry()
    if source == "degree" and goal in {"degC", "degF"}:
        source = "degF" if goal == "degC" else "degC"
    try:
        units = [registry.parse_units(_ALIASES.get(name, name)) for name in (source, goal)]
        value: Any = registry.Quantity(amount, units[0]).to(units[1]).magnitude
    except pint.DimensionalityError:
        return f"{unit.capitalize()} and {target} do not measure the same thing."
    except _UNKNOWN_UNIT:
        return None
    said = _SPOKEN.get(source, unit)
    return f"{say_result(amount)} {said} {_be(amount)} {_say_measure(value, goal, target)}."


def _say_measure(value: float, unit: str, name: str) -> str:
    """Return a value with the precision in which its unit is used, and "about" if rounded."""
    if unit == "foot" and 1 < value < MAX_FEET and not value.is_integer():
        feet, inches = divmod(round(value * 12), 12)
        return f"about {feet} feet {inches} inch{'es' if inches != 1 else ''}"
    digits = (
        0 if unit in _TEMPERATURES or abs(value) >= HUNDREDS else 1 if abs(value) >= TENS else 2
    )
    rounded = round(value, digits) if abs(value) >= 1 else value
    about = "" if math.isclose(rounded, value, rel_tol=1e-6) or abs(value) < 1 else "about "
    return f"{about}{say_result(rounded)} {_SPOKEN.get(unit, name)}"


def _choose_ounce(name: str, other: str) -> str:
    """An ounce is of weight, unless the other unit measures a volume."""
    volumes = ("liter", "litre", "cup", "spoon", "pint", "quart", "gallon", "ml")
    name = _ALIASES.get(name, name)
    return "fluid_ounce" if name == "ounce" and any(word in other for word in volumes) else name


def _singular(unit: str) -> str:
    """Return `unit` in lower case and singular, "cup of flour" for "cups of flour"."""
    name = " ".join(unit.lower().replace("°", "degree ").split())
    head, of, rest = name.partition(" of ")
    words = [word if word in _ALIASES else _drop_plural(word) for word in head.split()]
    singular = " ".join(words)
    return _ALIASES.get(singular, singular) if not of else f"{singular} of {rest}"


def _drop_plural(word: str) -> str:
    irregular = {"feet": "foot", "inches": "inch", "hertz": "hertz", "celsius": "celsius"}
    if word in irregular:
        return irregular[word]
    return word[:-1] if len(word) > 3 and word.endswith("s") else word  # noqa: PLR2004 - "lbs"


def _weigh(source: str, goal: str) -> float | None:
    measure, _, ingredient = source.partition(" of ")
    grams = _CUP_GRAMS.get(ingredient)
    if grams is None or measure not in _CUPS or goal not in {"gram", "g"}:
        return None
    return grams * _CUPS[measure]


def _be(amount: float) -> str:
    return "is" if 0 < amount <= 1 else "are"


@cache
def _load_registry() -> pint.UnitRegistry[Any]:
    import pint  # noqa: PLC0415 - takes most of a second; loaded with the first conversion

    return pint.UnitRegistry(autoconvert_offset_to_baseunit=True)


async def handle(call: SkillCall, context: SkillContext) -> SkillReply | None:
    if call.intent == "convert_height":
        inches = call.slots["feet"] * 12 + call.slots.get("inches", 0)
        text = await asyncio.to_thread(convert, inches, "inches", call.slots["target"])
        return SkillReply(f"That's {text.partition(' are ')[2]}") if text else None
    unit, target = (_ARTICLE.sub("", call.slots[name]) for name in ("unit", "target"))
    if not _NAME.fullmatch(unit.lower().replace("°", "")) or not _NAME.fullmatch(target.lower()):
        return None
    amount = call.slots.get("amount", 1)
    text = await asyncio.to_thread(convert, amount, unit, target)
    return None if text is None else SkillReply(text)


SKILL = Skill(
    "conversion",
    (
        SkillIntent(
            "convert_units",
            "convert units",
            (
                "(convert|change|turn) {amount} {unit} (to|into|in) {target}",
                "what is {amount} {unit} (in|to|into|as) {target}",
                (
                    "how (much|many|far|long|hot|cold|heavy|tall|big) (is|are) {amount} {unit} "
                    "(in|to|into) {target}"
                ),
                "how many {target} (is|are|make|makes) [there] [(in|to)] {amount} {unit}",
                "how many {target} (in|to|per) {amount} {unit}",
                "how many {target} (do|does) {amount} {unit} have",
                "{amount} {unit} (in|to|into|as) {target}",
            ),
            {
                "amount": Slot("number", "how many units"),
                "unit": Slot(description="the unit, like 'miles' or 'cups of flour'"),
                "target": Slot(description="the unit to convert to"),
            },
        ),
        SkillIntent(
            "convert_height",
            "convert feet and inches",
            (
                (
                    "(what is|how tall is|how much is|convert) {feet} (feet|foot|ft) [and] "
                    "{inches} [inches|inch] (in|to|into) {target}"
                ),
            ),
            {
                "feet": Slot("number", "the feet"),
                "inches": Slot("number", "the inches"),
                "target": Slot(description="the unit to convert to"),
            },
        ),
        SkillIntent(
            "convert_one",
            "tell you how many of one unit another has",
            (
                "how many {target} (is|are|make|makes) [there] [(in|to)] (a|an) {unit}",
                "how many {target} (in|to|per) (a|an) {unit}",
                "how many {target} (do|does) (a|an) {unit} have",
                "(convert|what is|how much is) (a|an) {unit} (in|to|into) {target}",
                "how (long|heavy|far|much|big|tall) is (a|an) {unit} in {target}",
            ),
            {
                "unit": Slot(description="the unit, like 'mile'"),
                "target": Slot(description="the unit to count"),
            },
        ),
    ),
    handle,
)

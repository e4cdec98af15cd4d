"""Amounts of money, measures, fractions and numbers as English words. Pure.

Each rule is a pattern and the words for its match; rules are applied in order, so that an amount of
money is not read as a number with a sign.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterable
from pathlib import Path

from barnabee.understanding.spoken_forms import (
    count_unit,
    say_amount,
    say_figures,
    say_number,
    say_ordinal,
    say_year,
)

Rule = tuple[re.Pattern[str], Callable[[re.Match[str]], str]]

FORMS = tomllib.loads(Path(__file__).with_name("written_forms.toml").read_text(encoding="utf-8"))
_UNITS: dict[str, str] = FORMS["units"] | FORMS["short_units"]
_MAGNITUDES: dict[str, str] = FORMS["magnitudes"]
_CURRENCIES: dict[str, list[str]] = FORMS["currencies"]


def join_alternatives(words: Iterable[str]) -> str:
    return "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))


_NUM = r"(?:(?:\d{1,3}(?:,\d{3})+|\d+)(?:\.\d+)?|\.\d+)"
_AMOUNT = rf"(?:(?:\d+[ -])?\d+/\d+(?![\d/])|{_NUM})"
_START = r"(?<![\w.,/])"
_TO = r"(?:\s?[-\u2013]\s?|\sto\s)"
_SIGNS = join_alternatives([sign for sign in _CURRENCIES if not sign.isalpha()])
_CODES = join_alternatives([sign for sign in _CURRENCIES if sign.isalpha()])
_UNIT = join_alternatives(FORMS["units"])
_SHORT = join_alternatives(FORMS["short_units"])
_POWER = r"[\u00b2\u00b3]|\^?[23](?!\w)"
_LENGTH = r"(?:km|m|dm|cm|mm|ft|in|mi|yd)"
_SPECIAL_FRACTIONS = {"24/7": "twenty-four seven", "9/11": "nine eleven", "50/50": "fifty fifty"}
_VIDEO_LINES = {"480", "720", "1080", "1440", "2160"}


def _write_money(match: re.Match[str]) -> str:
    sign, low, high, magnitude = match["sign"], match["low"], match["high"], match["magnitude"]
    unit, cent = _CURRENCIES[sign.strip()]
    magnitude = _MAGNITUDES.get(magnitude or "", magnitude)
    last = high or low
    if magnitude:
        words = f"{say_amount(last)} {magnitude} {count_unit('2', unit)}"
    elif match["thing"] is not None:
        words = f"{say_amount(last)} {count_unit('1', unit)}"
    else:
        words = _say_money(last, unit, cent)
    words = f"{say_amount(low)} to {words}" if high else words
    words += _say_rate(match)
    return f"minus {words}" if match["minus"] else words


def _say_money(amount: str, unit: str, cent: str) -> str:
    whole, _, decimals = amount.replace(",", "").partition(".")
    if not decimals or len(decimals) > 2:  # noqa: PLR2004
        return f"{say_amount(amount)} {count_unit(amount, unit)}"
    cents = int(decimals.ljust(2, "0"))
    parts = [f"{say_figures(whole)} {count_unit(whole, unit)}"] if int(whole or 0) else []
    if cents or not parts:
        parts.append(f"{say_number(cents)} {count_unit(str(cents), cent)}")
    return " and ".join(parts)


def _write_measure(match: re.Match[str]) -> str:
    low, high, power = match.group("low", "high", "power")
    words = _add_power(power, count_unit(high or low, _UNITS[match["unit"]]))
    return f"{_say_range(low, high)} {words}{_say_rate(match)}"


def _say_rate(match: re.Match[str]) -> str:
    if not match["rate"]:
        return ""
    rate = _UNITS.get(match["rate"], match["rate"]).partition("/")[0]
    return " an hour" if rate == "hour" else f" per {_add_power(match['rate_power'], rate)}"


def _write_short_measure(match: re.Match[str]) -> str:
    low, high = match.group("low", "high")
    unit = _UNITS[match["attached"] or match["last"]]
    return f"{_say_range(low, high)} {count_unit(high or low, unit)}"


def _say_range(low: str, high: str | None) -> str:
    return f"{say_amount(low)} to {say_amount(high)}" if high else say_amount(low)


def _add_power(power: str | None, unit: str) -> str:
    if not power:
        return unit
    if unit == "second":
        return "second squared"
    return f"cubic {unit}" if power[-1] in "3\u00b3" else f"square {unit}"


def _write_duration(match: re.Match[str]) -> str:
    units = {"h": "hour", "m": "minute", "s": "second"}
    pairs = re.findall(r"(\d+)\s?([hms])", match[0])
    return " ".join(f"{say_figures(n)} {count_unit(n, units[unit])}" for n, unit in pairs)


def _write_fraction(match: re.Match[str]) -> str:
    return _SPECIAL_FRACTIONS.get(match[0]) or say_amount(match[0])


def _write_year(match: re.Match[str]) -> str:
    return say_year(int(match[0]))


def _write_picture_lines(match: re.Match[str]) -> str:
    if match[1] in _VIDEO_LINES:
        return f"{say_year(int(match[1]))} P"
    return f"{say_figures(match[1])} {count_unit(match[1], 'penny/pence')}"


def make_rule(pattern: str, words: Callable[[re.Match[str]], str] | str, flags: int = 0) -> Rule:
    replace = words if callable(words) else lambda match, template=words: match.expand(template)
    return re.compile(pattern, flags), replace


_YEAR_CONTEXT = "|".join(
    rf"(?<=\b{word} )"
    for word in "in of by since from until before after during year circa".split()
)
_RATE = rf"(?:\s?/\s?(?P<rate>{_UNIT}|month|year|week|day|person)(?P<rate_power>{_POWER})?(?!\w))?"
_MONEY_TAIL = (
    rf"(?:\s?(?P<magnitude>(?:{join_alternatives(tuple(_MAGNITUDES))})(?!\w)|(?:thousand|million|billion|"
    rf"trillion)\b))?(?P<thing>(?= (?:bill|note|coin|voucher|ticket|gift)\b))?{_RATE}"
)

QUANTITY_RULES: tuple[Rule, ...] = (
    make_rule(
        r"(?:(?<=\d%)|(?<=\d\u00b0)|(?<=[\u00b0 ][CF]))\s?[-\u2013]\s?(?=\d)",
        " to ",
    ),
    make_rule(r"(?<=\u20ac)(\d+),(?=\d\d(?!\d))|(?<![\w.,])(\d+),(?=\d\d ?\u20ac)", r"\1\2."),
    make_rule(r"(\d)e([+-]?\d+)(?!\w)", r"\1 times 10 to the power of \2"),
    make_rule(r"(?<![\w:.])(\d+):(\d+)(?![\w:])", r"\1 to \2"),
    make_rule(
        rf"(?P<minus>(?<![\w)])[-])?(?<!\w)(?P<sign>{_SIGNS})\s?(?P<low>{_NUM})"
        rf"(?:{_TO}(?:(?P=sign))?(?P<high>{_NUM}))?{_MONEY_TAIL}",
        _write_money,
    ),
    make_rule(
        rf"(?P<minus>(?<![\w)])-)?{_START}(?P<low>{_NUM})(?:{_TO}(?P<high>{_NUM}))?"
        rf"(?P<magnitude> (?:thousand|million|billion|trillion))?\s?"
        rf"(?P<sign>{_SIGNS}|(?:{_CODES})(?!\w))(?P<thing>(?!))?{_RATE}",
        _write_money,
    ),
    make_rule(rf"{_START}(\d+)\u00a2", lambda match: f"{match[1]} {count_unit(match[1], 'cent')}"),
    make_rule(rf"{_START}(\d+)p(?!\w)", _write_picture_lines),
    make_rule(r"(?<![\w)])-(?=\.?\d)", "minus "),
    make_rule(rf"{_START}\d+\s?h(?:rs?)?\s?\d+\s?m(?:ins?)?(?!\w)", _write_duration),
    make_rule(rf"{_START}\d+\s?m(?:in)?\s?\d+\s?s(?:ec)?(?!\w)", _write_duration),
    make_rule(
        r"(?<!\w)(\d+)['\u2032]\s?(\d+)(?:[\"\u2033]|'')",
        lambda match: (
            f"{say_figures(match[1])} {count_unit(match[1], 'foot/feet')} "
            f"{say_figures(match[2])} {count_unit(match[2], 'inch/inches')}"
        ),
    ),
    make_rule(rf"(?<!\w)({_NUM})\u2033", r"\1 inch"),
    make_rule(r'\A([^"]*\d)"(?=[^"]*\Z)', r"\1 inch"),
    make_rule(rf"(?!0x)({_NUM})\s?[x\u00d7]\s?(?=\d)", r"\1 by "),
    make_rule(r"(?<!\w)(\d+)[x\u00d7](?!\w)", r"\1 times"),
    make_rule(rf"{_START}(\d{{4}})\s?K(?!\w)", lambda match: f"{say_figures(match[1])} kelvin"),
    make_rule(
        rf"{_START}(?P<low>{_AMOUNT})(?:{_TO}(?P<high>{_AMOUNT}))?[ -]?"
        rf"(?P<unit>(?:{_LENGTH}(?={_POWER}))|(?:{_UNIT})(?![\w\u00b0]))(?P<power>{_POWER})?{_RATE}(?!\w)",
        _write_measure,
    ),
    make_rule(
        rf"{_START}(?P<low>{_AMOUNT})(?:{_TO}(?P<high>{_AMOUNT}))?"
        rf"(?:(?P<attached>{_SHORT})(?!\w)|\s(?P<last>{_SHORT})(?=\.?(?:[,;:!?)]|\Z|\s[A-Z])))",
        _write_short_measure,
    ),
    make_rule(r"(?<![\w/.])(\d+)/(\d+)(?= stars?\b)", r"\1 out of \2"),
    make_rule(r"(?<![\w/.,])(?:\d+[ -])?\d+/\d+(?![\w/])", _write_fraction),
    make_rule(
        r"(?<![\w.,])(\d{1,3}(?:,\d{3})*|\d+)(?:st|nd|rd|th)\b",
        lambda match: say_ordinal(int(match[1].replace(",", ""))).replace(",", ""),
    ),
    make_rule(rf"(?<=\d)\s?-\s?(?={_NUM}\s?=)", " minus "),
    make_rule(r"(?<=\d)\s?[-\u2013\u2014]\s?(?=\d)", " to "),
    make_rule(
        rf"(?:{_YEAR_CONTEXT})1[0-9]\d\d(?![\w,]|\.\d)(?! [a-z]+[^s\W]s\b)",
        _write_year,
        re.IGNORECASE,
    ),
    make_rule(
        r"(?<![\w.,])(?:19|20)\d\d(?![\w,]*\d|\w|\.\d)(?! (?!is|was|has|as|its|this)[a-z]+s\b)",
        _write_year,
    ),
)

"""Numbers as people say and write them: "two and a half", "a hundred and five", "1,200", "½"."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

ONES = (
    *("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"),
    *("eleven", "twelve", "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen"),
    "nineteen",
)
TENS = (
    *("zero", "ten", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty"),
    "ninety",
)
_SMALL = {word: value for value, word in enumerate(ONES)}
_SMALL |= {word: 10 * tens for tens, word in enumerate(TENS) if tens > 1} | {"fourty": 40}
_SCALES = {"thousand": 10**3, "million": 10**6, "billion": 10**9, "trillion": 10**12}
_SPECIAL_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_DENOMINATORS = {
    "half": 2,
    "halves": 2,
    "third": 3,
    "quarter": 4,
    "fifth": 5,
    "sixth": 6,
    "eighth": 8,
    "thirds": 3,
    "quarters": 4,
    "fourth": 4,
    "fourths": 4,
    "fifths": 5,
    "eighths": 8,
    "tenth": 10,
    "tenths": 10,
}
_GLYPHS = {"½": "1/2", "¼": "1/4", "¾": "3/4", "⅓": "1/3", "⅔": "2/3", "⅛": "1/8"}
_ONE = {"a", "an", "one", "1"}
_DECIMAL = re.compile(r"\d+(?:\.\d+)?|\.\d+")
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_MAX_NUMBER_WORDS, _MAX_DIGITS = 12, 16
_HUNDRED = 100
_FACTORS = {"hundred": _HUNDRED, "dozen": 12}


def make_ordinal(word: str) -> str:
    """Return "fifth" for "five", "twentieth" for "twenty"."""
    if word in _SPECIAL_ORDINALS:
        return _SPECIAL_ORDINALS[word]
    return f"{word[:-1]}ieth" if word.endswith("y") else f"{word}th"


_ORDINALS = {make_ordinal(word): value for word, value in _SMALL.items()}
NUMBER_WORDS = frozenset(
    {*_SMALL, *_SCALES, *_DENOMINATORS, "hundred", "a", "an", "and", "point", "minus", "negative"}
    | {"dozen", "couple", "of", *_GLYPHS}
)
ORDINAL_WORDS = frozenset(_ORDINALS)
# A text with a number contains one of these.
NUMBER_FRAGMENTS = (NUMBER_WORDS | ORDINAL_WORDS | set("0123456789")) - {"a", "an", "and", "of"}


def split_spoken_words(text: str) -> list[str]:
    """Return the lower-case words of `text`, with "7pm" and "twenty-one" as two words."""
    text = _THOUSANDS.sub("", text.lower().replace("’", "'"))  # noqa: RUF001 - typed by phones
    for glyph, fraction in _GLYPHS.items():
        text = text.replace(glyph, f" {fraction}")
    text = re.sub(r"\b([ap])\.? ?m\b\.?", r"\1m", text)
    text = re.sub(r"(\d)(?!st\b|nd\b|rd\b|th\b)([a-z°%])", r"\1 \2", text)
    text = re.sub(r"(?<=\bh)(?=\d)", " ", text)
    text = re.sub(r"(?<=[a-z])-(?=[a-z])|[,;!?\"]", " ", text)
    return text.rstrip(". ").split()


def parse_number(text: str) -> int | float | None:
    """Return the number that all of `text` says, None if it is no number."""
    words = split_spoken_words(text)
    if words and words[0] in {"minus", "negative"}:
        value = _parse_mixed(words[1:])
        value = None if value is None else -value
    elif words and re.fullmatch(r"-[\d.].*", words[0]):
        value = _parse_mixed([words[0][1:], *words[1:]])
        value = None if value is None else -value
    else:
        value = _parse_mixed(words)
    if value is None:
        return None
    return int(value) if value.denominator == 1 else float(value)


def replace_number_words(text: str, *, with_ordinals: bool = False) -> str:
    """Return `text` with each run of number words as figures; "seven thirty" becomes "7 30".

    With ordinals "twenty first" becomes "21st".
    """
    words, result, start = split_spoken_words(text), list[str](), 0
    while start < len(words):
        ordinal = _find_ordinal(words, start) if with_ordinals else None
        found = ordinal or _find_number(words, start)
        if found is None:
            result.append(words[start])
            start += 1
        else:
            figure, start = found
            result.append(figure)
    return " ".join(result)


def _find_number(words: Sequence[str], start: int) -> tuple[str, int] | None:
    if words[start] not in _SMALL and not words[start][0].isdigit() and words[start] != "a":
        return None
    for end in range(min(len(words), start + _MAX_NUMBER_WORDS), start, -1):
        value = _parse_decimal(words[start:end])
        if value is not None:
            figure = str(value) if value.denominator == 1 else f"{float(value):g}"
            is_written = end == start + 1 and words[start][0].isdigit()
            return (words[start] if is_written else figure), end
    return None


def _find_ordinal(words: Sequence[str], start: int) -> tuple[str, int] | None:
    pair = words[start : start + 2]
    value = _ORDINALS.get(pair[0])
    if value:
        return _write_ordinal(value), start + 1
    tens, ones = _SMALL.get(pair[0], 0), _ORDINALS.get(pair[-1], 0)
    if tens >= _SMALL["twenty"] and 0 < ones < _SMALL["ten"]:
        return _write_ordinal(tens + ones), start + 2
    return None


def _write_ordinal(number: int) -> str:
    """Return "21st"; 11 to 13 end in "th"."""
    ending = {1: "st", 2: "nd", 3: "rd"}.get(number % 10 if number // 10 != 1 else 0, "th")
    return f"{number}{ending}"


def _parse_mixed(words: Sequence[str]) -> Fraction | None:
    """Parse "two and a half", "2 1/2", "three quarters" or a decimal number."""
    fraction = _parse_fraction(words)
    if fraction is not None:
        return fraction
    for cut in range(len(words) - 1, 0, -1):
        rest = words[cut + 1 :] if words[cut] == "and" else words[cut:]
        is_fraction = words[cut] == "and" or "/" in words[cut]
        fraction = _parse_fraction(rest) if is_fraction else None
        whole = _parse_decimal(words[:cut]) if fraction is not None else None
        if fraction is not None and whole is not None:
            return whole + fraction
    return _parse_decimal(words)


def _parse_fraction(words: Sequence[str]) -> Fraction | None:
    if len(words) == 1 and (match := re.fullmatch(r"(\d{1,9})/(\d{1,9})", words[0])):
        return Fraction(int(match[1]), int(match[2])) if int(match[2]) else None
    if not words or words[-1] not in _DENOMINATORS:
        return None
    count = words[:-1]
    if not count or (len(count) == 1 and count[0] in _ONE):
        is_half = bool(count) or words[-1] in {"half", "quarter"}
        return Fraction(1, _DENOMINATORS[words[-1]]) if is_half else None
    number = _parse_integer(count)
    return None if number is None else Fraction(number, _DENOMINATORS[words[-1]])


def _parse_decimal(words: Sequence[str]) -> Fraction | None:
    if len(words) == 1 and len(words[0]) <= _MAX_DIGITS and _DECIMAL.fullmatch(words[0]):
        return Fraction(words[0])
    if "point" in words:
        cut = words.index("point")
        whole = _parse_integer(words[:cut]) if cut else 0
        digits = [_parse_integer([word]) for word in words[cut + 1 :]]
        if whole is None or not digits or any(digit is None for digit in digits):
            return None
        return Fraction(f"{whole}.{''.join(map(str, digits))}")
    value = _parse_integer(words)
    return None if value is None else Fraction(value)


def _parse_integer(words: Sequence[str]) -> int | None:
    total, current, last_scale, previous = 0, Fraction(0), 10**15, ""
    if list(words) == ["zero"]:
        return 0
    for position, word in enumerate(words):
        if word == "and":
            if position + 1 == len(words) or previous not in {"hundred", *_SCALES}:
                return None
        elif word in _SCALES:
            if not current or _SCALES[word] >= last_scale:
                return None
            last_scale = _SCALES[word]
            total, current = total + int(current * last_scale), Fraction(0)
        else:
            added = _add_word(word, current)
            if added is None:
                return None
            current = added
        previous = word
    return total + int(current) if words and words[-1] != "a" and current.denominator == 1 else None


def _add_word(word: str, current: Fraction) -> Fraction | None:
    """Return `current`, a number below a thousand, with `word` added; None if that is not said."""
    if word in _FACTORS:
        return current * _FACTORS[word] if 0 < current < _HUNDRED else None
    if word in {"a", "an"}:
        return Fraction(1) if not current else None
    if _DECIMAL.fullmatch(word) and len(word) <= _MAX_DIGITS:
        return Fraction(word) if not current else None
    value = _SMALL.get(word, 0)
    if not value:
        return None
    is_free = current % 10 == 0 and current % _HUNDRED != 10 if value < 10 else True  # noqa: PLR2004
    if not is_free or (value >= 10 and current % _HUNDRED):  # noqa: PLR2004 - ten
        return None
    return current + value

"""Text normalization: what is written, as the English words that a voice reads aloud. Pure.

`normalize_text` removes markup (`spoken_text`), writes numbers, dates, money and measures as words
(`written_dates`, `written_quantities`), and expands abbreviations, acronyms and signs. The words
are in `written_forms.toml`. The result has letters, punctuation and `[pause:1.5s]` only; it is its
own normal form.
"""

from __future__ import annotations

import html
import re
import unicodedata
from functools import lru_cache

from barnabee.understanding.spoken_forms import say_figures, say_ordinal, spell_digits
from barnabee.understanding.spoken_text import clean_sentence, remove_hidden, split_sentences
from barnabee.understanding.written_dates import DATE_RULES, TIME_RULES
from barnabee.understanding.written_quantities import (
    FORMS,
    QUANTITY_RULES,
    Rule,
    join_alternatives,
    make_rule,
)

MAX_PAUSE_S = 10.0
PAUSE = re.compile(r"(\[pause:\d+(?:\.\d+)?s\])")

_CHARACTERS = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201b\u00b4\u02bc", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"'),
        **dict.fromkeys("\u00a0\u2007\u2009\u202f", " "),
        **dict.fromkeys("\u2010\u2011\u2212", "-"),
        **dict.fromkeys("\u00ad\ufeff", ""),
        "\u03bc": "\u00b5",  # Greek mu: micro
        "\u2126": "\u03a9",  # ohm sign: omega
        "\u212a": "K",
        "\u2103": "\u00b0C",
        "\u2109": "\u00b0F",
        "\u2044": "/",
        **{chr(0x2080 + figure): str(figure) for figure in range(10)},  # subscripts
    }
)
_VULGAR = re.compile("(?<=\\d) ?(?=[\u00bc-\u00be\u2150-\u215e])|([\u00bc-\u00be\u2150-\u215e])")
_SSML_BREAK = re.compile(
    r"<break\b[^<>]*?(?:time\s*=\s*[\"']?(\d+(?:\.\d+)?|\.\d+)\s?(ms|s)[^<>]*)?/?>", re.IGNORECASE
)
_PAUSE_TAG = re.compile(
    r"\[(?:pause|break|silence)(?:[:= ]\s?(\d+(?:\.\d+)?|\.\d+)\s?(ms|s)?)?\]", re.IGNORECASE
)
_DEFAULT_PAUSE_S = 0.5
_SUBSTITUTE = re.compile(r"<sub\b[^<>]*?alias\s*=\s*\"([^\"<>]*)\"[^<>]*>.*?</sub>", re.IGNORECASE)
_EMOTICON = re.compile(r"(?<!\S)[:;=]['-]?[)(DPp|/](?!\S)|(?<!\S)<3(?!\S)")
_LINE_END = re.compile(r"<br ?/?>|</(?:p|li|h[1-6]|div|tr)>", re.IGNORECASE)
_PLAIN = re.compile(r"[a-z' ,]*[.!?]?", re.IGNORECASE)

_SHORT_WORDS = frozenset(FORMS["words"]["in_capitals"].split())
_ROMAN = r"(?=[IVXLC])(?:XC|XL|L?X{0,3})(?:IX|IV|V?I{0,3})"
_ROMAN_VALUES = {"I": 1, "V": 5, "X": 10, "L": 50, "C": 100}
_MONARCHS = "|".join(FORMS["words"]["monarchs"].split())
_NUMBERED_THINGS = "|".join(FORMS["words"]["before_roman_numerals"].split())


@lru_cache(maxsize=256)
def normalize_text(text: str) -> str:
    """Return the words of `text`; "" when nothing of it can be said."""
    sentences = map(clean_sentence, split_sentences(remove_hidden(_prepare(text))))
    return " ".join(_end_lines(list(filter(None, map(normalize_sentence, sentences)))))


def normalize_sentence(sentence: str) -> str:
    """Return the words of one sentence without markup."""
    parts = PAUSE.split(sentence)
    parts[::2] = map(_normalize_words, parts[::2])
    text = " ".join(filter(None, parts))
    return text if any(map(str.isalnum, text)) else ""


def _normalize_words(text: str) -> str:
    if _PLAIN.fullmatch(text) and not _UNUSUAL_WORD.search(text):
        return text.strip()
    text = _lower_shouting(text)
    for pattern, replace in _RULES:
        text = pattern.sub(replace, text)
    return " ".join(text.split())


def _prepare(text: str) -> str:
    """Return `text` in plain characters, with pauses as `[pause:1s]`."""
    text = unicodedata.normalize("NFC", html.unescape(text)).translate(_CHARACTERS)
    text = _VULGAR.sub(_write_vulgar_fraction, text)
    text = _LINE_END.sub("\n", _SUBSTITUTE.sub(r"\1", text))
    text = _PAUSE_TAG.sub(_write_pause, _SSML_BREAK.sub(_write_pause, text))
    return _EMOTICON.sub("", text)


def _end_lines(sentences: list[str]) -> list[str]:
    """Return sentences that end with punctuation, so that lines of a list do not run together."""
    ended = [one if one[-1] in ".,;:!?\u2026\"')]" else f"{one}." for one in sentences[:-1]]
    return [*ended, *sentences[-1:]]


def _write_vulgar_fraction(match: re.Match[str]) -> str:
    if match[1] is None:
        return " "
    return unicodedata.normalize("NFKC", match[1]).replace("\u2044", "/")


def _write_pause(match: re.Match[str]) -> str:
    length = float(match[1] or _DEFAULT_PAUSE_S)
    seconds = min(length / 1000 if match[2] and match[2].lower() == "ms" else length, MAX_PAUSE_S)
    return f" [pause:{seconds:g}s] "


def _lower_shouting(text: str) -> str:
    """Return a text in capitals in lower case, so that its words are not read as acronyms."""
    words = re.findall(r"[^\W\d_]{2,}", text)
    if (
        len(words) > 1
        and all(map(str.isupper, words))
        and (
            any(word in _SHORT_WORDS for word in words) or max(map(len, words)) > 5  # noqa: PLR2004
        )
    ):
        return text.lower()
    return text


def _expand(match: re.Match[str]) -> str:
    """Return an abbreviation's words, with a period where it ends a sentence."""
    written, rest = match[0], match.string[match.end() :]
    words = _ABBREVIATIONS[written]
    following = _BEGIN if written[0].isupper() and "." in written[:-1] else r" +[A-Z]"
    is_end = not rest.strip("\"')") or re.match(rf"[\"')]*{following}", rest)
    return f"{words}." if written.endswith(".") and is_end and written not in _INNER else words


def _write_phone(match: re.Match[str]) -> str:
    groups = re.findall(r"\d+", match[0])
    words = ", ".join(map(spell_digits, groups))
    return f"plus {words}" if match[0].startswith("+") else words


def _write_initials(match: re.Match[str]) -> str:
    rest = match.string[match.end() :]
    return match[0].replace(".", " ").strip() + ("." if not rest.strip("\"')") else "")


def _write_roman(match: re.Match[str]) -> str:
    if not match[2]:
        return match[0]
    values = [_ROMAN_VALUES[numeral] for numeral in match[2]]
    signed = (
        -one if one < after else one for one, after in zip(values, [*values[1:], 0], strict=True)
    )
    number = sum(signed)
    if re.fullmatch(_MONARCHS, match[1]):
        return f"{match[1]} the {say_ordinal(number)}"
    return f"{match[1]} {say_figures(str(number))}".strip()


def _write_acronym(match: re.Match[str]) -> str:
    word, plural = match[1], match[2]
    known = FORMS["acronyms"].get(word)
    if known is not None:
        return f"{known}{plural}"
    is_word = word in _SHORT_WORDS or (len(word) > 3 and _PRONOUNCEABLE.fullmatch(word))  # noqa: PLR2004
    return match[0] if is_word else " ".join(word) + plural


def _write_code(match: re.Match[str]) -> str:
    """Return "M P three" for "MP3": letters and numbers, as they are read."""
    parts = re.findall(r"\d+|[^\W\d_]+", match[0])
    return " ".join(map(_say_code_part, parts))


def _say_code_part(part: str) -> str:
    if not part.isdecimal():
        is_spelled = part.isupper() or len(part) <= 2  # noqa: PLR2004
        return " ".join(part.upper()) if is_spelled else part
    return say_figures(part) if len(part) <= 2 or part.endswith("00") else spell_digits(part)  # noqa: PLR2004


_PRONOUNCEABLE = re.compile(
    r"(?!.*[^AEIOU]{4})(?:[^AEIOU]|[BCDFGPSTK][LR]|S[CKLMNPTW]|[CST]H|TH|WH|KN|QU)?[AEIOU].*"
)
_INNER = frozenset(
    {"e.g.", "i.e.", "a.k.a.", "vs.", "cf.", "approx.", "incl.", "excl.", "tel.", "Tel.", "ext."}
)
# What begins a sentence after "U.S.", which is more often followed by a name.
_BEGIN = r" +(?:The|He|She|It|They|We|You|I|Then|This|That|There|But|And|In|On|At|If|My)\b"
_WEEKDAY = join_alternatives(FORMS["weekdays"])
_ABBREVIATIONS: dict[str, str] = FORMS["abbreviations"] | {
    f"{short}.": name for short, name in FORMS["months"].items() if short != "May"
}
_ABBREVIATION = join_alternatives(_ABBREVIATIONS)
_NUMBERED = join_alternatives(FORMS["numbered"])
_UNUSUAL_WORD = re.compile(
    rf"[A-Z]{{2}}|[a-z][A-Z]|\b[A-HJ-Z]\b|[a-z] I\b|\bSt\b|(?<!\w)(?:{_ABBREVIATION})(?!\w)"
)
_SYMBOL = join_alternatives(FORMS["symbols"])

_WORD_RULES: tuple[Rule, ...] = (
    make_rule(r"(?<=[a-z0-9])\.(?=[A-Z][a-z]|[A-Z] )", ". "),  # a space is missing
    make_rule(r"(?<=\w)\.(?=[a-z]{2,}(?!\w))|(?<=[A-Za-z])\.(?=\d)", " dot "),
    make_rule(
        rf"\b({_WEEKDAY})\.?\s?[-\u2013]\s?({_WEEKDAY})\b",
        lambda match: f"{FORMS['weekdays'][match[1]]} to {FORMS['weekdays'][match[2]]}",
    ),
    make_rule(
        rf"\b(?:{_WEEKDAY})\b\.?(?=,? (?:\d|[A-Z][a-z]{{2}}|at\b|morning|night|evening))",
        lambda match: FORMS["weekdays"][match[0].rstrip(".")],
    ),
    make_rule(
        rf"(?<!\w)(?:{join_alternatives(FORMS['titles'])})(?!\w)",
        lambda match: FORMS["titles"][match[0]],
    ),
    make_rule(r"(?<=\d )([A-Z]\w+ )(?:St|Dr)\.", r"\1Street"),
    make_rule(r"\bDr\.(?= [A-Z])", "Doctor"),
    make_rule(r"\bSt\.?(?= [A-Z])(?<!\d St\.)", "Saint"),
    make_rule(r"((?:\d(?:st|nd|rd|th)|\b[A-Z]\w+) )St\.", r"\1Street"),
    make_rule(r"\b([A-Z]\w+ )Dr\.", r"\1Drive"),
    make_rule(
        rf"(?<!\w)({_NUMBERED})\s?(?=\d)", lambda match: f"{FORMS['numbered'][match[1]].strip()} "
    ),
)
_AFTER_RULES: tuple[Rule, ...] = (
    make_rule(r"(?<![\w.])([A-HJ-Z])\.(?= [A-Z](?:[a-z]|\.))(?<!Plan \w\.)(?<!Type \w\.)", r"\1"),
    make_rule(rf"(?<![\w./])(?:{_ABBREVIATION})(?!\w)", _expand),
    make_rule(r"(?<![\w.])(?:[A-Z]\.){2,}", _write_initials),
    make_rule(rf"\b({_NUMBERED_THINGS}) ({_ROMAN})\b(?!')", _write_roman),
    make_rule(
        rf"\b({_MONARCHS}) (?!I\b(?! (?:of|was|reigned|died)\b)(?![,.;:!?)]|\Z))({_ROMAN})\b",
        _write_roman,
    ),
    make_rule(rf"\b([A-Z][a-z]+) ((?=[IVX]{{2}}){_ROMAN})\b", _write_roman),
    make_rule(rf"()\b((?=[IVX]{{3}}){_ROMAN})\b", _write_roman),
    make_rule(r"\b(?=\w*\d)(?=\w*[^\W\d_])[^\W_]+\b", _write_code),
    make_rule(r"(?<!\w)\.\d+|\d+(?:,\d{3})*(?:\.\d+)?", lambda match: say_figures(match[0])),
    make_rule(r"\b([A-Z]{2,6}|WiFi|IoT|PhD)(s?)\b", _write_acronym),
    make_rule(r"\band/or\b", "and or"),
    make_rule(
        r"(?<=\w)\s?/\s?(?=(?:hour|day|week|month|year|night|person|minute|second)\b)", " per "
    ),
    make_rule(r"(?<=\w)/(?=\w)", " slash "),
    make_rule(r"(?<=\w) < (?=\w)|(?<!\S)<(?=[a-z])", " less than "),
    make_rule(r"(?<=\w) > (?=\w)|(?<!\S)>(?=[a-z])", " more than "),
    make_rule(rf"\s*({_SYMBOL})\s*", lambda match: f" {FORMS['symbols'][match[1]]} "),
    make_rule(r"\s+-{1,3}\s+|--+", ", "),
    make_rule(r"[\[\]{}<>/\\_*|`\u2022\u00b7]", " "),
    make_rule(r"(?<=\w)([,:])(?=\w)", r"\1 "),
    make_rule(r"([!?,;:])\1+", r"\1"),
    make_rule(r"\.{2,}", "\u2026"),
    make_rule(r"\s+(?=[.,;:!?](?:\s|\Z))", ""),
)
_DIGIT_RULES: tuple[Rule, ...] = (
    make_rule(
        r"(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?![\w.]*\d)",
        lambda match: " dot ".join(map(spell_digits, match[0].split("."))),
    ),
    make_rule(
        r"(?<![\w.])\d+(?:\.\d+){2,}(?!\w)",
        lambda match: " point ".join(map(say_figures, match[0].split("."))),
    ),
    make_rule(r"(?<![\w+])\+\d{1,3}(?:[ .-]?\(?\d{1,5}\)?){2,6}(?!\w)", _write_phone),
    make_rule(
        r"(?<![\w-])(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-. ])\d{3}[-. ]\d{4}(?![\w-])", _write_phone
    ),
    make_rule(r"(?<![\w-])0\d{2,4}[ /-]\d{3,7}(?:[ -]\d{3,4})?(?![\w-])", _write_phone),
    make_rule(
        rf"(?<![\w-])\d{{3}}-\d{{4}}(?![\w-]|\s?(?:{join_alternatives(FORMS['units'])})(?!\w)|\s[a-z]+s\b)",
        _write_phone,
    ),
    make_rule(
        r"\b(?<=call |dial )\d{3}(?!\w)", lambda match: spell_digits(match[0]), re.IGNORECASE
    ),
    make_rule(
        r"\b((?:pass|zip|post)?(?:code|word)|pin|combination|extension|flight|otp)"
        r"((?: number)?(?: is| was|:)?) (\d{3,12})(?!\w)",
        lambda match: f"{match[1]}{match[2]} {spell_digits(match[3])}",
        re.IGNORECASE,
    ),
)
_RULES = (
    *_WORD_RULES,
    *DATE_RULES,
    *_DIGIT_RULES,
    *TIME_RULES,
    *QUANTITY_RULES,
    *_AFTER_RULES,
)

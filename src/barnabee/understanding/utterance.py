"""The front end of every sentence: what was said becomes one or several plain commands.

Pure. Wake words, politeness, hesitations and repetitions are removed, percentages are written in
one way, corrections ("no wait, the bedroom") are applied and compounds are split.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from functools import lru_cache

from barnabee.understanding.clauses import protect_names, split_clauses
from barnabee.understanding.corrections import CANCELLED, resolve_correction
from barnabee.understanding.spoken_numbers import parse_number
from barnabee.understanding.words import (
    NUMBER,
    STARTS,
    VERBS,
    first_word,
    is_dictation,
    make_word_set,
    to_verb,
)

_NAME = r"(?:barnabee|barnaby|barnabie|barney)"
_OTHER_NAME = r"(?:jarvis|alexa|siri|mycroft|nabu)"
_CALLED = r"(?:(?:hey|hi|ok|okay|hello)[\s,]+)"
_WAKE = re.compile(
    rf"{_CALLED}?{_NAME}\b(?!'s)[\s,.!?:]*|"
    rf"{_CALLED}(?:{_OTHER_NAME}|google|computer)\b(?!'s)[\s,.!?:]*|"
    rf"(?:{_OTHER_NAME}|computer)\s*[,.!:]+\s*",
    re.IGNORECASE,
)
_BARE_WAKE = re.compile(rf"{_OTHER_NAME}\s+", re.IGNORECASE)
_CLOSING_WAKE = re.compile(
    rf"[\s,]+{_NAME}[\s.!?]*$|\s*,\s*(?:hey )?{_OTHER_NAME}[\s.!?]*$", re.IGNORECASE
)
_HESITATION = re.compile(
    r"(?:um+|uh+m*(?!\W*huh)|erm?|hm+|mm+|ah+|oh|eh)\b[\s,.!?…-]*", re.IGNORECASE
)
_INNER_HESITATION = re.compile(
    r"(?:[\s,.…-]+(?:um+|uh+m*|erm|hm{2,})\b(?!')[,.…-]*|\s*,\s*(?:er|ah|eh|like|you know)\s*,)"
    r"(?=\s|$)",
    re.IGNORECASE,
)
_OPENER = re.compile(
    r"(?:okay|ok|alright|all right|so|well|right|now|look|listen|hey|hi|hello|yo|then|great|"
    r"perfect|excuse me|sorry|good (?:morning|afternoon|evening))\b(?P<stop>\s*[,.!;:]+)?\s*",
    re.IGNORECASE,
)
_POLITE = re.compile(
    r"(?:please|pls|kindly|like|just|maybe|perhaps|possibly|quickly|actually|also|go ahead and|"
    r"do me a favou?r and|be so kind and|if you (?:could|can|would|don't mind|please)|"
    r"(?:(?:i was )?wondering|i wonder) if you (?:could|can|would)|"
    r"(?:would|is) it (?:be )?possible (?:to|for you to)|any chance you (?:could|can)|"
    r"i (?:need|want) you to|i(?:'d| would) (?:like|love|want) (?:you )?to|"
    r"i (?:want to|wanna|need to)|(?:can|could|would|will) (?:you|we|some(?:one|body))|"
    r"you (?:can|could)|i said|"
    r"i(?:'d| would) appreciate it if you (?:could|would))\b[\s,]+",
    re.IGNORECASE,
)
_PLEASE = re.compile(r"(?:please|pls)[\s,]+", re.IGNORECASE)
_MIND = re.compile(
    r"(?:(?:would|do) you mind|how about|mind)\s+(?P<gerund>[a-z]+ing)\b", re.IGNORECASE
)
_CHECK = re.compile(
    r"(?:check|see|tell me|let me know|do you know)\s+(?:if|whether)\s+"
    r"(?P<subject>.+?)\s+(?P<verb>is|are)\s+(?P<rest>.+)",
    re.IGNORECASE,
)
_HAVE = re.compile(
    r"(?:can|could|may) (?:i|we) (?:have|get) (?P<thing>.+?) (?P<state>on|off)(?P<rest> in .+)?",
    re.IGNORECASE,
)
_CLOSE = re.compile(r"[\s,]+(?:please|pls|um+|uh+|and|or|then|but)[\s.!?,…-]*$", re.IGNORECASE)
_THANKS = re.compile(
    r"[\s,.]+(?:thanks(?: a lot| so much| very much| in advance)?|"
    r"thank you(?: so much| very much)?)"
    r"[\s.!?,]*$",
    re.IGNORECASE,
)
_COURTESY = re.compile(
    r"[\s,.]+(?:for me|if you (?:can|could|would|please|don't mind|wouldn't mind)|right away|"
    r"(?:would|will|could|can) you|okay|ok|right now|now|real quick|buddy|mate|dear)[\s.!?,]*$",
    re.IGNORECASE,
)
_MISHEARD_OFF = re.compile(r"(?<=\bturn) of\b(?= \w)", re.IGNORECASE)
_MISHEARD_WAIT = re.compile(r"(?:^|(?<=[,.;!?…] ))(no,?) weight\b(?=[\s,]+\w)", re.IGNORECASE)
_MISHEARD_NO = re.compile(r"^know(?=,? (?:the|my|our) .+ (?:is|are|was|were) )", re.IGNORECASE)
_MISHEARD_IT = re.compile(r"\b(dim|turn|switch|set|make|open|close)it\b", re.IGNORECASE)
_STUTTER = re.compile(r"\b(\w{1,6})-+[\s,]*(?=\1)", re.IGNORECASE)
_REPEATED = re.compile(
    r"\b(\w+(?:'\w+)?(?: \w+(?:'\w+)?){0,3})(?:[\s,.…]+\1\b(?!['-]))+", re.IGNORECASE
)
_MEANT_TWICE = make_word_set("bye knock ha very so yo duran no now ring ding tick cha pom boo")
_PERCENT = re.compile(r"(\d+(?:[.,]\d+)?)\s*(?:%|per ?cent\b|pct\b)", re.IGNORECASE)
_DEGREES = re.compile(r"(\d)\s*°\s*(?P<unit>[CF]\b)?")
_UNITS = {"C": " Celsius", "F": " Fahrenheit", None: ""}
_SPOKEN_NUMBER = re.compile(
    rf"\b(?:a )?{NUMBER}(?:[ -](?:{NUMBER}|(?<=hundred )and))*(?= (?:percent|per cent|degrees?)\b)",
    re.IGNORECASE,
)
_FINAL_NUMBER = re.compile(rf"(?<=\bto ){NUMBER}(?:[ -](?:{NUMBER}))*$", re.IGNORECASE)
_SPACE = re.compile(r"\s+")
_PUNCTUATION = " .!?,;:…-"
_SETTERS = make_word_set("set dim turn raise lower change put brighten adjust")


def normalise(text: str, names: Collection[str] = ()) -> tuple[str, ...]:
    """Return the commands in `text`, in order; at least one, ("never mind",) after a cancellation.

    `names` are those of things and rooms; they are not split. The result of one of the commands is
    that command.
    """
    protected = protect_names(_SPACE.sub(" ", text).strip(), names)
    if not protected.text.strip():  # private use characters alone
        return (text.strip(),)
    return tuple(map(protected.restore, _normalise(protected.text, protected.is_known)))


@lru_cache(maxsize=1024)
def clean_utterance(utterance: str) -> str:
    """Return the sentence without wake word, politeness, hesitations and final punctuation.

    A sentence that consists only of these is returned as it is.
    """
    text = _SPACE.sub(" ", utterance).replace("\u2019", "'").strip()
    while (shorter := _clean_once(text)) != text:
        text = shorter
    return text


def _normalise(text: str, is_known: Callable[[str], bool]) -> tuple[str, ...]:
    cleaned = clean_utterance(text)
    resolved = resolve_correction(cleaned)
    if resolved != cleaned:
        return (CANCELLED,) if resolved == CANCELLED else _normalise(resolved, is_known)
    parts = split_clauses(cleaned, is_known, _clean_front)
    if len(parts) == 1:
        return (cleaned,)
    return tuple(clause for part in parts for clause in _normalise(part, is_known))


def _clean_once(text: str) -> str:
    for step in (_clean_front, _clean_inside, _clean_end, _write_numbers):
        text = step(text) or text
    return text


def _clean_front(text: str) -> str:
    """Return `text` without what stands before the command."""
    for pattern, is_allowed in _FRONTS:
        match = pattern.match(text)
        rest = text[match.end() :] if match else ""
        if match and rest and is_allowed(match, rest):
            return rest
    if match := _MIND.match(text):
        verb = to_verb(match["gerund"])
        return f"{verb}{text[match.end() :]}" if verb else text
    if match := _CHECK.fullmatch(text):
        return f"{match['verb']} {match['subject']} {match['rest']}"
    if match := _HAVE.fullmatch(text):
        return f"turn {match['thing']} {match['state']}{match['rest'] or ''}"
    return text


def _starts_command(rest: str) -> bool:
    return first_word(rest) in VERBS or _POLITE.match(rest) is not None


def _is_word(rest: str) -> bool:
    return any(map(str.isalnum, rest))


def _is_opening(match: re.Match[str], rest: str) -> bool:
    starts = STARTS | {"um", "uh", "please", "so", "well", "like", "just"}
    return _is_word(rest) and (bool(match["stop"]) or first_word(rest) in starts)


_FRONTS: tuple[tuple[re.Pattern[str], Callable[[re.Match[str], str], bool]], ...] = (
    (_WAKE, lambda _match, rest: _is_word(rest)),
    (_BARE_WAKE, lambda _match, rest: first_word(rest) in STARTS - {"is", "was", "will", "has"}),
    (_HESITATION, lambda _match, rest: _is_word(rest)),
    (_PLEASE, lambda _match, rest: _is_word(rest)),
    (_OPENER, _is_opening),
    (_POLITE, lambda _match, rest: _starts_command(rest)),
)


def _clean_inside(text: str) -> str:
    text = _SPACE.sub(" ", _INNER_HESITATION.sub(" ", text)).strip()
    text = _MISHEARD_OFF.sub(" off", _STUTTER.sub("", text))
    text = _MISHEARD_NO.sub("no", _MISHEARD_WAIT.sub(r"\1 wait", text))
    text = _MISHEARD_IT.sub(r"\1 it", text)
    return text if is_dictation(text) else _REPEATED.sub(_say_once, text)


def _say_once(match: re.Match[str]) -> str:
    words = set(match[1].lower().split())
    is_meant = words <= _MEANT_TWICE or all(re.fullmatch(NUMBER, word) for word in words)
    return match[0] if is_meant else match[1]


def _clean_end(text: str) -> str:
    patterns = [_CLOSING_WAKE, _CLOSE]
    if first_word(text) in STARTS - {"good"}:
        patterns.append(_THANKS)
    if first_word(text) in VERBS and not is_dictation(text):
        patterns.append(_COURTESY)
    for pattern in patterns:
        shorter = pattern.sub("", text, count=1)
        text = shorter if _is_word(shorter) else text
    return text.rstrip(_PUNCTUATION) or text


def _write_numbers(text: str) -> str:
    text = _PERCENT.sub(r"\1 percent", text)
    text = _DEGREES.sub(lambda match: f"{match[1]} degrees{_UNITS[match['unit']]}", text)
    text = _SPOKEN_NUMBER.sub(_write_number, text)
    return _FINAL_NUMBER.sub(_write_number, text) if first_word(text) in _SETTERS else text


def _write_number(match: re.Match[str]) -> str:
    value = parse_number(match[0])
    return str(value) if isinstance(value, int) else match[0]

"""Corrections: "no wait, the bedroom" and "never mind" within a sentence. Pure.

`replace_part` also serves follow-ups like "and the bedroom", which change one part of the last
sentence.
"""

from __future__ import annotations

import re

from barnabee.understanding.words import (
    NUMBER,
    QUESTION_WORDS,
    THINGS,
    VERBS,
    first_word,
    is_dictation,
)

CANCELLED = "never mind"

_BREAK = r"[\s,.;:!?…-]+"
_SIGHS = rf"(?:(?:oh|no|wait|actually|ah|well|um|uh|okay|ok|sorry|you know what|and){_BREAK})*"
_CANCEL = re.compile(
    rf"(?P<before>.*?\w(?P<pause>{_BREAK})){_SIGHS}"
    r"(?:never ?mind(?: that)?|forget(?: about)? (?:it|that)|scratch that|cancel that|"
    r"(?<=no )(?:cancel|leave it|don't|stop)|(?<=no, )(?:cancel|leave it|don't|stop)|no,? wait)\b"
    rf"(?:{_BREAK})?(?P<after>.*)",
    re.IGNORECASE,
)
_PROHIBITION = re.compile(
    r"(?:don't|do not) (?:turn|switch|open|close|lock|unlock|dim|start|set)\b"
    r"(?!.*\b(?:when|if|until|at|before|after|unless|while|any ?more|again)\b).*",
    re.IGNORECASE,
)
_NOT_CANCELLED = re.compile(
    r"(?:don't|do not|never|not|to|can't|the|and|i|album|song)\s*$", re.IGNORECASE
)
_SURE_MARK = (
    r"(?:(?:oh )?no,? wait(?:,? no)?|wait,? no|wait,? sorry|(?:no,? )?scratch that|or rather|"
    r"(?:no,? )?make (?:that|it)(?= \d|\s+(?:the|to|for|at)\b)|no,? no|no,? sorry|sorry,? no|"
    r"no(?=,? not the\b)|no,? not (?:that|this)(?: one)?|"
    r"(?:no,? |sorry,? )?i meant?(?: to say)?(?=,? (?:the|my|in|to|at|for|\d|turn|set|switch)\b)|"
    r"correction)"
)
_PAUSED_MARK = r"(?:no|wait|sorry|actually(?:,? no)?|no,? actually|i meant?|rather|oops)"
_SURE_CORRECTION = re.compile(
    rf"(?P<before>.*?\w){_BREAK}{_SURE_MARK}{_BREAK}(?P<after>\w.*)", re.IGNORECASE
)
_PAUSED_CORRECTION = re.compile(
    rf"(?P<before>.*?\w)\s*[,.;:!?…-]+\s*{_PAUSED_MARK}{_BREAK}(?P<after>\w.*)", re.IGNORECASE
)
_NOT_THIS = re.compile(r"not .+?(?:,|\bbut\b|(?=\bthe\b))\s*(?P<rest>the .+)", re.IGNORECASE)
_LEAD = re.compile(r"(?:make (?:it|that)|rather|and|also|just)\s+", re.IGNORECASE)
_TRAIL = re.compile(r"\s+(?:instead|too|as well|one|ones|please|then)$", re.IGNORECASE)

_PREPOSITION = re.compile(r"(?P<word>in|for|at|on the|to|from|about|of)\s+\S", re.IGNORECASE)
_DAY = re.compile(
    r"(?:(?:on|this|next|for) )?(?:the )?\b(?:today|tonight|tomorrow|yesterday|now|(?:mon|tues|"
    r"wednes|thurs|fri|satur|sun)day|weekend|week|day after tomorrow)\b"
    r"(?: (?:morning|afternoon|evening|night))?",
    re.IGNORECASE,
)
_COLOURS = "red|green|blue|yellow|orange|purple|violet|pink|white|warm white|cold white|turquoise"
_COLOUR = re.compile(rf"\b(?:{_COLOURS})\b", re.IGNORECASE)
_UNIT = (
    r"(?:percent|per cent|%|degrees?|seconds?|minutes?|hours?|days?|weeks?|o'clock|[ap]\.?m\.?|"
    r"times)"
)
_AMOUNT = re.compile(
    rf"\b{NUMBER}(?:(?:[ -]| and )(?:{NUMBER}|a half))*(?P<unit> {_UNIT})?(?!\w)", re.IGNORECASE
)
_PREDICATES = (
    r"on|off|to|at|by|for|in|from|is|are|open|closed|locked|unlocked|playing|running|still|again|"
    rf"brighter|darker|warmer|colder|up|down|and|{_COLOURS}"
)
_NOUN_PHRASE = re.compile(
    rf"\b(?:all (?:of )?)?(?:the|my|our)\s+(?P<noun>\S.*?)(?=\s+(?:{_PREDICATES})\b|$)",
    re.IGNORECASE,
)
_BARE_OBJECT = re.compile(
    r"(?:turn|switch|shut|power|put) (?:on|off) (?P<noun>.+)|"
    r"(?:turn|switch|put) (?P<between>.+) (?:on|off)|"
    r"(?:open|close|shut|lock|unlock|start|stop|dim|brighten) (?P<plain>.+?)(?= to |$)",
    re.IGNORECASE,
)
_WRITTEN_AS_ONE = re.compile(r"\w(?:lights?|lamps?)$")  # "nightlight", Whisper's "counterlight"
_LOCATION = re.compile(r"\s+in (?:the )?\S+(?: room)?(?=\s|$)", re.IGNORECASE)


def resolve_correction(text: str) -> str:
    """Return the corrected sentence; CANCELLED if it takes itself back; else `text`."""
    if _PROHIBITION.fullmatch(text):
        return CANCELLED
    cancelled = _resolve_cancellation(text)
    if cancelled is not None:
        return cancelled
    patterns = [_SURE_CORRECTION] if is_dictation(text) else [_SURE_CORRECTION, _PAUSED_CORRECTION]
    for pattern in patterns:
        match = pattern.fullmatch(text)
        if match is not None:
            return _correct(match["before"], match["after"]) or text
    return text


def _resolve_cancellation(text: str) -> str | None:
    match = _CANCEL.fullmatch(text)
    if match is None or _NOT_CANCELLED.search(match["before"]):
        return None
    before, after, has_pause = match["before"], match["after"], bool(match["pause"].strip())
    if not after:
        return CANCELLED if has_pause or first_word(before) != "play" else None
    if re.search(r"no,? wait$", text[: len(text) - len(after)].rstrip(" ,.;:!?…-"), re.IGNORECASE):
        return None  # a correction follows
    is_command = first_word(after) in VERBS | QUESTION_WORDS
    return after if is_command and first_word(before) != "play" else None


def _correct(before: str, after: str) -> str | None:
    contrast = _NOT_THIS.fullmatch(after)
    after = contrast["rest"] if contrast else after
    is_part = re.match(r"make (?:it|that)\b", after, re.IGNORECASE)
    if first_word(after) in VERBS | QUESTION_WORDS and not is_part:
        return after
    return replace_part(before, after)


def replace_part(sentence: str, part: str) -> str | None:
    """Return `sentence` with `part` in place of what it corresponds to; None if nothing does."""
    part = _strip_part(part)
    return replace_value(sentence, part) or _replace_noun(sentence, part)


def replace_value(sentence: str, part: str) -> str | None:
    """Return `sentence` with another "off", day, number, colour or place; None for other parts."""
    part = _strip_part(part)
    replacers = (
        _replace_particle,
        _replace_day,
        _replace_amount,
        _replace_colour,
        _replace_place,
    )
    return next(filter(None, (replace(sentence, part) for replace in replacers)), None)


def _strip_part(part: str) -> str:
    for pattern in (_LEAD, _TRAIL, _TRAIL):
        shorter = pattern.sub("", part, count=1).strip(" ,.!?")
        part = shorter or part
    return re.sub(r"^(?:The|My|Our|In|At|For|To)\b", lambda match: match[0].lower(), part)


def _replace_last(pattern: re.Pattern[str], sentence: str, part: str) -> str | None:
    matches = list(pattern.finditer(sentence))
    if not matches:
        return None
    return sentence[: matches[-1].start()] + part + sentence[matches[-1].end() :]


def _replace_particle(sentence: str, part: str) -> str | None:
    if part.lower() not in {"on", "off", "up", "down"}:
        return None
    pair = r"\b(?:on|off)\b" if part.lower() in {"on", "off"} else r"\b(?:up|down)\b"
    return _replace_last(re.compile(pair, re.IGNORECASE), sentence, part)


def _replace_day(sentence: str, part: str) -> str | None:
    if not _DAY.fullmatch(part):
        return None
    part = re.sub(r"^the (?=week)", "this ", part, flags=re.IGNORECASE)
    return _replace_last(_DAY, sentence, part) or f"{sentence} {part}"


def _replace_amount(sentence: str, part: str) -> str | None:
    bare = re.sub(r"^(?:to|for|at|in|by)\s+", "", part, flags=re.IGNORECASE)
    new, old = _AMOUNT.fullmatch(bare), list(_AMOUNT.finditer(sentence))
    if new is None:
        return None
    if not old:
        return f"{sentence} {part}" if bare != part else None
    unit = "" if new["unit"] else old[-1]["unit"] or ""
    return sentence[: old[-1].start()] + bare + unit + sentence[old[-1].end() :]


def _replace_colour(sentence: str, part: str) -> str | None:
    return _replace_last(_COLOUR, sentence, part) if _COLOUR.fullmatch(part) else None


def _replace_place(sentence: str, part: str) -> str | None:
    """Replace what follows the same preposition, or append it."""
    match = _PREPOSITION.match(part)
    if match is None:
        return None
    start = sentence.lower().rfind(f" {match['word'].lower()} ")
    return f"{sentence[:start] if start > 0 else sentence} {part}"


def _replace_noun(sentence: str, part: str) -> str | None:
    phrases = list(_NOUN_PHRASE.finditer(sentence))
    kind = part.rsplit(maxsplit=1)[-1].lower()
    is_thing = kind in THINGS or _WRITTEN_AS_ONE.search(kind) is not None
    if not phrases:
        found = _BARE_OBJECT.fullmatch(sentence)
        name = (
            next((name for name, value in found.groupdict().items() if value), "") if found else ""
        )
        return _put(sentence, found.span(name), part, is_thing=is_thing) if found and name else None
    if not is_thing:
        return _put(sentence, phrases[-1].span(), part, is_thing=False)
    start, end = phrases[0].span()
    location = _LOCATION.match(sentence, end)
    has_place = len(re.sub(r"^(?:the|my|our)\s+", "", part, flags=re.IGNORECASE).split()) > 1
    return _put(
        sentence, (start, location.end() if location and has_place else end), part, is_thing=True
    )


def _put(sentence: str, span: tuple[int, int], part: str, *, is_thing: bool) -> str:
    """Put `part` at `span`, with the kind of thing that stood there if `part` names only a room."""
    old = sentence[span[0] : span[1]].split()
    is_room = not is_thing and len(part.split()) <= 3  # noqa: PLR2004 - "the living room"
    has_kind = (
        len(old) > 1 and old[-1].lower() in THINGS and old[-2].lower() not in {"the", "my", "all"}
    )
    kind = f" {old[-1]}" if is_room and has_kind else ""
    return f"{sentence[: span[0]]}{part}{kind}{sentence[span[1] :]}"

"""Splitting a sentence with several commands: "turn on A and turn off B", "A and B". Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import cache, lru_cache

from barnabee.understanding.words import (
    QUESTION_WORDS,
    STRONG_VERBS,
    THINGS,
    VERBS,
    first_word,
    fold_name,
    is_dictation,
    make_word_set,
)

_SENTENCE_END = re.compile(r"(?<=[\w\"')][.!?;])\s+")
_CONNECTOR = re.compile(
    r"\s*[,;]?\s+(?:and then|and also|then also|and|then|plus|after that|but)\s*,?\s+|\s*[,;]\s+",
    re.IGNORECASE,
)
_ITEM = re.compile(r"\s*,\s*(?:and\s+|then\s+)?|\s+(?:and(?: also| then)?|plus)\s+", re.IGNORECASE)
_ARTICLE = re.compile(r"^(?:the|my|our|all|every|both|his|her)\s", re.IGNORECASE)
# In a list of items or songs, few verbs are surely no item.
_FIRM_VERBS = make_word_set("turn switch set dim remind open close lock unlock tell cancel add")
_OPEN_LISTS = frozenset({"add", "put", "play", "buy", "get"})
_NOUNS_TOO = frozenset({"roll", "run", "flip"})
# What follows a verb that could also be a noun, as in "and water the garden".
_OBJECT = re.compile(
    r"\w+ (?:the|a|an|my|our|me|us|all|it|them|him|her|up|down|back|out|off|on|how|if|what|when|"
    r"two|some|every\w*|\W)\b",
    re.IGNORECASE,
)
_ASIDE = re.compile(r"\b(?:they|them|it|he|she|him|his|her|their|its)\b", re.IGNORECASE)

_TWO_STATES = re.compile(
    r"(?P<verb>turn|switch) (?P<first>.+?) (?P<one>on|off)(?:,? and|,) "
    r"(?P<second>.+?) (?P<two>on|off)",
    re.IGNORECASE,
)
_TWO_QUESTIONS = re.compile(
    r"(?P<verb>is|are) (?P<first>.+? (?:on|off|open|closed|locked|unlocked))"
    r"(?:,? and|,) (?P<second>.+? (?:on|off|open|closed|locked|unlocked))",
    re.IGNORECASE,
)
_TWO_VALUES = re.compile(
    r"(?P<verb>set|dim|turn|make|change) (?P<first>.+? (?:to|at) .+?)(?:,? and|,) "
    r"(?P<second>(?:the|my|our) .+? (?:to|at) .+)",
    re.IGNORECASE,
)
_TWO_PARTICLES = re.compile(
    r"(?P<verb>turn|switch) (?P<one>on|off) (?P<first>.+?)(?:,? and|,) "
    r"(?P<two>on|off) (?P<second>.+)",
    re.IGNORECASE,
)
_TWO_TIMES = re.compile(
    r"(?P<verb>(?:set|start) (?:an? |the )?(?:\w+ )?(?:timer|alarm) )"
    r"(?P<first>(?:for|at) .+?),? and "
    r"(?:another(?: one| timer)?|(?:a second )?one|a second) (?P<second>(?:for|at) .+)",
    re.IGNORECASE,
)
_TWO_OF_THEM = re.compile(
    r"(?P<verb>set|start) (?:two|2) (?P<kind>timer|alarm)s,? (?:one )?(?P<first>(?:for|at) .+?),? "
    r"and (?:another |the other |one |the other one )?(?P<second>(?:for |at )?\S.*)",
    re.IGNORECASE,
)
_KIND = r"(?:an? |the |my |another )?(?:[\w-]+ ){0,2}(?:timer|alarm|reminder) "
_TWO_KINDS = re.compile(
    rf"(?P<verb>set|start) (?P<first>{_KIND}.+?),? and (?P<second>{_KIND}.+)", re.IGNORECASE
)
_TWO_PLACES = re.compile(
    r"(?P<head>(?:what time is it|what(?:'s| is) the (?:time|weather)(?: like)?|"
    r"how(?:'s| is) the weather) in )(?P<first>\S.*?),? and (?:in )?(?P<second>\S.*)",
    re.IGNORECASE,
)
_SHARED = (
    re.compile(
        r"(?P<head>(?:turn|switch) .+? (?:on|off) in )(?P<items>.+)(?P<tail>)", re.IGNORECASE
    ),
    re.compile(
        r"(?P<head>(?:turn|switch|shut|power|put) (?:on|off) |lights? (?:on|off) (?=in )|"
        r"(?:open|close|lock|unlock|dim|brighten|start|stop|shut|mute) )(?P<items>.+?)"
        r"(?P<tail>(?: to| by| halfway| for) .+)?",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?P<head>(?:turn|switch|put) )(?P<items>.+?)(?P<tail> (?:on|off|up|down))", re.IGNORECASE
    ),
    re.compile(r"(?P<head>(?:set|turn|make) )(?P<items>.+?)(?P<tail> to .+)", re.IGNORECASE),
    re.compile(
        r"(?P<head>(?:is|are) )(?P<items>.+?)"
        r"(?P<tail> (?:still )?(?:on|off|open|closed|locked|unlocked|running|home))",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?P<head>(?:what's|what is|tell me) )"
        r"(?P<items>(?:the )?(?:time|date|day|weather|temperature|forecast|humidity)\b.*)"
        r"(?P<tail>)",
        re.IGNORECASE,
    ),
)
_IN = re.compile(r"(?P<prefix>.*\bin )(?:the )?\S.*", re.IGNORECASE)
_MARK = 0xE000  # private use characters stand for protected names


@dataclass(frozen=True, slots=True)
class ProtectedText:
    """A text in which names that contain "and" are single characters."""

    text: str
    originals: tuple[str, ...]
    folded_names: Callable[[], Collection[str]]

    def restore(self, part: str) -> str:
        for number, original in enumerate(self.originals):
            part = part.replace(chr(_MARK + number), original)
        return part

    def is_known(self, part: str) -> bool:
        """Return whether `part` contains a known name, or ends with a kind of thing."""
        words = fold_name(self.restore(part)).split()
        if not words or part[-1:] >= chr(_MARK):
            return bool(words)
        known = self.folded_names()
        runs = (
            " ".join(words[start:end])
            for start in range(len(words))
            for end in range(start + 1, len(words) + 1)
        )
        return words[-1] in THINGS or any(run in known for run in runs)


def protect_names(text: str, names: Collection[str]) -> ProtectedText:
    """Return `text` with the names in it that a splitter would cut replaced by one character."""
    text = re.sub(r"[\ue000-\uf8ff]", "", text)
    originals: list[str] = []

    def hide(match: re.Match[str]) -> str:
        originals.append(match[0])
        return chr(_MARK + len(originals) - 1)

    if names and _ITEM.search(text.replace("&", " and ").replace("  ", " ")):
        lowered = text.lower()
        risky = [name for name in names if _is_risky(name) and _first_word(name) in lowered]
        for name in sorted(risky, key=len, reverse=True):
            text = _make_pattern(name).sub(hide, text)
    return ProtectedText(text, tuple(originals), cache(lambda: set(map(fold_name, names))))


def _is_risky(name: str) -> bool:
    return "&" in name or "+" in name or "," in name or " and " in name.lower()


def _first_word(name: str) -> str:
    return re.split(r"\W", name.lower(), maxsplit=1)[0]


@lru_cache(maxsize=1024)
def _make_pattern(name: str) -> re.Pattern[str]:
    words = re.findall(r"\w+|[&+]", name)
    escaped = (r"(?:and|&|\+)" if word in {"&", "+", "and"} else re.escape(word) for word in words)
    return re.compile(r"(?<!\w)" + r"\W+".join(escaped) + r"(?!\w)", re.IGNORECASE)


def split_clauses(
    text: str, is_known: Callable[[str], bool], clean_front: Callable[[str], str]
) -> tuple[str, ...]:
    """Return the commands in `text`; some may have to be split again.

    `clean_front` removes politeness in front of a verb, `is_known` recognizes names of the home.
    """
    for match in _SENTENCE_END.finditer(text):
        left, right = text[: match.start()], text[match.end() :]
        verbs = STRONG_VERBS if is_dictation(text) else VERBS | QUESTION_WORDS
        if first_word(clean_front(right)) in verbs:
            return left, right
    if is_dictation(text):
        return (text,)
    for match in _CONNECTOR.finditer(text):
        left, right = text[: match.start()], text[match.end() :]
        if left and _begins_command(left, clean_front(right)):
            return left, right
    return _share_verb(text, is_known)


def _begins_command(left: str, right: str) -> bool:
    word = first_word(right)
    if len(right.split()) < 2:  # noqa: PLR2004 - "rock and roll"
        return False
    if first_word(left) in _OPEN_LISTS:
        return word in _FIRM_VERBS or word in {"what's", "what", "how"}
    if first_word(left) in QUESTION_WORDS and word in QUESTION_WORDS:
        return not _ASIDE.search(right) or right.lower().startswith(
            ("what time", "is it", "will it")
        )
    is_noun_too = word in VERBS - STRONG_VERBS or word in _NOUNS_TOO
    return word in VERBS | QUESTION_WORDS and (not is_noun_too or _OBJECT.match(right) is not None)


def _split_times(text: str) -> tuple[str, ...]:
    """Split two timers or two places of one sentence."""
    if two := _TWO_TIMES.fullmatch(text):
        return f"{two['verb']}{two['first']}", f"{two['verb']}{two['second']}"
    if two := _TWO_KINDS.fullmatch(text):
        return f"{two['verb']} {two['first']}", f"{two['verb']} {two['second']}"
    if two := _TWO_OF_THEM.fullmatch(text):
        verb, second = f"{two['verb']} a {two['kind']}", two["second"]
        word = "" if second.lower().startswith(("for ", "at ")) else f"{two['first'].split()[0]} "
        return f"{verb} {two['first']}", f"{verb} {word}{second}"
    two = _TWO_PLACES.fullmatch(text)
    return (f"{two['head']}{two['first']}", f"{two['head']}{two['second']}") if two else ()


def _share_verb(text: str, is_known: Callable[[str], bool]) -> tuple[str, ...]:
    """Split "the kitchen light and the hall light", each with the verb."""
    if parts := _split_times(text):
        return parts
    for pattern in (_TWO_STATES, _TWO_PARTICLES):
        two = pattern.fullmatch(text)
        if two is not None and not _ITEM.search(two["first"]):
            verb = two["verb"]
            return f"{verb} {two['one']} {two['first']}", f"{verb} {two['two']} {two['second']}"
    for pattern in (_TWO_QUESTIONS, _TWO_VALUES):
        two = pattern.fullmatch(text)
        if two is not None and not _ITEM.search(two["first"]):
            return f"{two['verb']} {two['first']}", f"{two['verb']} {two['second']}"
    for pattern in _SHARED:
        match = pattern.fullmatch(text)
        items = _split_items(match["items"], is_known) if match else ()
        if match and len(items) > 1:
            head, tail = match["head"], match["tail"] or ""
            head = "is " if head.lower() == "are " else head
            return tuple(f"{head}{item}{tail}" for item in items)
    return (text,)


def _split_items(text: str, is_known: Callable[[str], bool]) -> tuple[str, ...]:
    items = [item for item in _ITEM.split(text) if item and item.strip()]
    items[:1] = [re.sub(r"^both (?:of )?", "", items[0], flags=re.IGNORECASE)] if items else []
    if len(items) < 2 or re.search(r"\bbetween\b", text, re.IGNORECASE):  # noqa: PLR2004
        return ()
    if not all(_ARTICLE.match(item) for item in items[1:]) and not all(map(is_known, items)):
        return ()
    return tuple(_complete_items(items))


def _complete_items(items: list[str]) -> list[str]:
    """Give "the bedroom" in "the kitchen light and the bedroom" the thing or "in" of the other."""
    inside = _IN.fullmatch(items[0])
    if inside:
        return [items[0], *(_put_inside(item, inside["prefix"]) for item in items[1:])]
    things = [item.split()[-1] for item in items if len(_strip(item).split()) > 1]
    thing = next((word for word in reversed(things) if word.lower() in THINGS), None)
    if thing is None:
        return items
    return [f"{item} {thing}" if _is_room(item) else item for item in items]


def _put_inside(item: str, prefix: str) -> str:
    return f"{prefix}{re.sub('^in ', '', item)}" if _is_room(re.sub("^in ", "", item)) else item


def _strip(item: str) -> str:
    return _ARTICLE.sub("", item)


def _is_room(item: str) -> bool:
    """Return whether `item` seems to be a room: one word that is no thing, or "living room"."""
    words = _strip(item).lower().split()
    if not words or words[-1] in THINGS or words[0] in {"all", "every"}:
        return False
    return words[-1] in {"room", "floor"} or (len(words) == 1 and item[-1] < chr(_MARK))

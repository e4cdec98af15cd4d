"""Pronouns and follow-ups: "turn it off again", "the kitchen one", "and the bedroom". Pure.

A sentence that leaves something out is completed from the last one: from the names of the things it
was about (the targets), or from its words.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from barnabee.understanding.corrections import replace_part, replace_value
from barnabee.understanding.interfaces import Home, PastExchange
from barnabee.understanding.words import (
    VERBS,
    first_word,
    is_noun_phrase,
    is_thing,
    make_word_set,
)

TEXT = "text"  # key of the sentence in `Exchange.context`
TARGETS = "targets"
UNDO = "undo"
MAX_AGE = 4  # exchanges; what was said before is not referred to
MAX_NAMED = 4  # targets that are named one by one

_PRONOUN = r"(?:it|them|that(?: one| thing)?|this(?: one)?|those|these|both)"
_COMMAND = re.compile(
    rf"(?P<verb>(?:turn|switch|put|shut|power)(?: back)?(?: (?P<early>on|off|up|down))?|set|dim|"
    rf"brighten|open|close|lock|unlock|start|make|lower|raise|change|mute|unmute) {_PRONOUN}\b"
    r"(?P<rest>.*)",
    re.IGNORECASE,
)
_NO_OBJECT = re.compile(
    r"(?:(?:turn|switch|put) )?(?:back )?(?P<state>on|off)(?: again| now| please)?", re.IGNORECASE
)
_QUESTION = re.compile(
    rf"(?P<verb>is|are|was|were) {_PRONOUN}\b(?P<rest>(?: (?:still|now|already))? "
    r"(?:on|off|open|closed|locked|unlocked|running|playing|home|dimmed)\b.*)",
    re.IGNORECASE,
)
_REPEAT = re.compile(
    r"(?:(?:do|try|make) (?:it|that|this|the same)(?: thing)? (?:again|once more|one more time)|"
    r"(?:do )?the same(?: thing)? again|try again|again|and again)",
    re.IGNORECASE,
)
_MORE = re.compile(
    r"(?:(?:a (?:little )?bit|a little|some|even|still|just a bit) )?more(?: please)?|"
    r"(?:even |still )?(?P<same>brighter|darker|warmer|colder|cooler|louder|quieter)(?: still)?",
    re.IGNORECASE,
)
_DIMMED = re.compile(r"(?P<verb>dim|brighten)\b", re.IGNORECASE)
_GRADE = re.compile(
    r"\b(?:brighter|darker|dimmer|warmer|colder|cooler|louder|quieter|up|down)\b", re.IGNORECASE
)
_FOLLOW_UP = re.compile(
    r"(?:(?:no,? wait|wait|actually|sorry|and|also|or|no|nope|then|now)[\s,]+|"
    r"(?:and |but )?(?:what|how) about |"
    r"not (?:that|this)(?: one)?[\s,]+(?:but )?|not the \w+(?: \w+)?[\s,]+(?:but )?(?=the )|"
    r"i meant? )+(?P<part>\S.*)",
    re.IGNORECASE,
)
_CORRECTED = re.compile(r"(?:no|nope|wait|sorry|i meant?|not)\b", re.IGNORECASE)
_STATEMENT = re.compile(
    r"(?:the|my|our|\w+'s) .*(?<!that)(?<!which)(?<!who) (?:is|are|was|were) \S.*", re.IGNORECASE
)
_ONE_OF = re.compile(r"(?:the )?(?P<part>\S.*?) ones?(?: too| as well| please)?", re.IGNORECASE)
_TOO = re.compile(r"(?P<part>(?:the|my|our|in) \S.*?) (?:too|as well|also)", re.IGNORECASE)
_NOT_A_PART = make_word_set("other first second last next that this which no any right wrong")
_THERE = re.compile(r"\b(?:in|over) there\b|\bthere\b$", re.IGNORECASE)
_PLACE = re.compile(r" in (?:the|my|our|here)\b", re.IGNORECASE)
_AGAIN = re.compile(
    r"(?P<command>(?:turn|switch|put|open|close|lock|unlock|dim|set) .+?) (?:again|back)$",
    re.IGNORECASE,
)
_BACK = re.compile(r"(?P<verb>turn|switch|put) (?P<rest>.+) back (?P<state>on|off)", re.IGNORECASE)
_CANCEL = re.compile(
    r"(?P<verb>cancel|stop|delete|pause|resume|undo|scratch|revert) "
    r"(?:(?:it|that|this)(?: one)?|(?P<all>(?:them|those)(?: all)?|(?:all|both)(?: of them)?))",
    re.IGNORECASE,
)
_ENTRIES = (
    (re.compile(r"\btimers?\b", re.IGNORECASE), "timer"),
    (re.compile(r"\balarms?\b|\bwake (?:me|us)\b", re.IGNORECASE), "alarm"),
    (re.compile(r"\breminders?\b|\bremind (?:me|us)\b", re.IGNORECASE), "reminder"),
)
_MAKE = re.compile(r"(?:make|change) (?:it|that)(?: to)? (?P<part>\S.*)", re.IGNORECASE)
_TIMER = re.compile(
    r"(?:set|start) an? (?:(?P<label>\w+ timer) for .+|"
    r"timer for (?P<long>\S+ (?:second|minute|hour))s?|"
    r"(?P<short>\S+[ -](?:second|minute|hour)) timer)",
    re.IGNORECASE,
)
_ALARM = re.compile(
    r"(?:set an alarm (?:for|at)|wake (?:me|us)(?: up)? at) (?P<time>\S.*)", re.IGNORECASE
)
_REMINDER = re.compile(r"remind (?:me|us) to (?P<what>.+) (?:at|in|on) \S.*", re.IGNORECASE)
_TAKEN_BACK = frozenset({"cancel", "undo", "scratch", "revert", "delete"})
_ADDED = re.compile(r"(?:add|put) (?P<item>.+) (?:to|on) (?P<list>.*\blist)", re.IGNORECASE)
_ITEM_OF_LIST = re.compile(
    r"(?P<head>add|put|remove|delete|take) .+ (?P<tail>(?:to|on|from|off) .*\blist)", re.IGNORECASE
)
_OBJECT = re.compile(
    r"(?:turn|switch|shut|power|put) (?:on|off|up|down) (?P<first>.+)|"
    r"(?:turn|switch|shut|power|put) (?P<second>.+) (?:on|off|up|down)|"
    r"(?:set|dim|turn|change|make) (?P<third>.+?) to .+|"
    r"(?:is|are) (?P<fourth>.+) (?:on|off|open|closed|locked|unlocked|running|playing)|"
    r"(?:open|close|lock|unlock|dim|brighten|start|stop) (?P<fifth>.+)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class LastCommand:
    """What a sentence can refer to: the last command, and the last things that a command was about.

    `command` is the text of the command about the things, `names` are theirs, `area` is their room.
    `is_undoable` says whether the last command changed something at home.
    """

    text: str = ""
    names: tuple[str, ...] = ()
    area: str | None = None
    command: str = ""
    is_undoable: bool = False


def find_last_command(history: Sequence[PastExchange], home: Home | None) -> LastCommand | None:
    """Return what can be referred to; small talk in between is passed over."""
    last: LastCommand | None = None
    for exchange in history[-MAX_AGE:]:
        if exchange.context.get(TEXT):
            last = follow_command(last, exchange.context, home)
    return last


def follow_command(
    last: LastCommand | None, context: Mapping[str, Any], home: Home | None
) -> LastCommand:
    """Return what can be referred to after the command of an exchange's context."""
    text = str(context.get(TEXT, ""))
    if last is not None and last.names and not context.get(TARGETS):
        return replace(last, text=text, is_undoable=False)
    entities = home.entities if home is not None else {}
    targets = [entities[key] for key in context.get(TARGETS, ()) if key in entities]
    areas = {entity.area_id for entity in targets}
    area_id = areas.pop() if len(areas) == 1 else None
    area = home.areas.get(area_id) if home is not None and area_id is not None else None
    names = tuple(entity.name for entity in targets)
    is_undoable = bool(context.get(UNDO))
    return LastCommand(text, names, area.names[0] if area else None, text, is_undoable)


def resolve_references(text: str, last: LastCommand | None) -> str:
    """Return `text` with what it leaves out taken from the last command."""
    if last is None:
        return text
    text = _name_place(_drop_again(text), last)
    if _REPEAT.fullmatch(text):
        return last.text
    for resolve in _RESOLVERS:
        resolved = resolve(text, last)
        if resolved is not None:
            return resolved
    return text


def _drop_again(text: str) -> str:
    match = _BACK.fullmatch(text)
    text = f"{match['verb']} {match['rest']} {match['state']}" if match else text
    again = _AGAIN.fullmatch(text)
    return again["command"] if again else text


def _name_place(text: str, last: LastCommand) -> str:
    return _THERE.sub(f"in the {last.area}", text) if last.area and _THERE.search(text) else text


def _name_object(last: LastCommand) -> str | None:
    """Return the words for what the last command was about."""
    match = _OBJECT.fullmatch(last.command)
    words: str | None = next(filter(None, match.groups()), None) if match else None
    if len(last.names) == 1:
        return f"the {last.names[0]}"
    if words and not re.search(rf"\b{_PRONOUN}\b", words, re.IGNORECASE):
        return words
    if not 0 < len(last.names) <= MAX_NAMED:
        return None
    return " and ".join(f"the {name}" for name in last.names)


def _resolve_pronoun(text: str, last: LastCommand) -> str | None:
    match = _COMMAND.fullmatch(text) or _QUESTION.fullmatch(text)
    named = _name_object(last) if match else None
    if match is None or named is None or _PLACE.search(match["rest"]):
        return None
    rest = re.sub(r" (?:now|again|please)$", "", match["rest"])
    return f"{match['verb']} {named}{rest}".replace(" back ", " ", 1)


def _resolve_entry(text: str, last: LastCommand) -> str | None:
    """Complete "cancel it" and "undo that" after what can be taken back."""
    match = _CANCEL.fullmatch(text)
    if match is None:
        return None
    is_taken_back = match["verb"].lower() in _TAKEN_BACK
    verb = "cancel" if is_taken_back else match["verb"]
    for pattern, kind in _ENTRIES:
        if pattern.search(last.text):
            return f"{verb} all {kind}s" if match["all"] else f"{verb} the {kind}"
    if is_taken_back and (added := _ADDED.fullmatch(last.text)):
        return f"remove {added['item']} from {added['list']}"
    if is_taken_back and first_word(last.text) == "remember":
        return "forget that"
    return "undo that" if is_taken_back and last.text == last.command and last.names else None


def _resolve_time(text: str, last: LastCommand) -> str | None:
    """Replace the timer, alarm or reminder just set: "make that 20 minutes", "no, at eight"."""
    corrected = _FOLLOW_UP.fullmatch(text) if _CORRECTED.match(text) else None
    match, old = _MAKE.fullmatch(text) or corrected, _name_entry(last.text)
    changed = replace_value(last.text, match["part"]) if match and old else None
    return f"cancel the {old} and {changed}" if changed else None


def _name_entry(text: str) -> str | None:
    """Return the words for the timer, alarm or reminder that `text` has set."""
    if timer := _TIMER.fullmatch(text):
        return timer["label"] or f"{timer['long'] or timer['short']} timer"
    if reminder := _REMINDER.fullmatch(text):
        return f"reminder to {reminder['what']}"
    alarm = _ALARM.fullmatch(text)
    return f"alarm for {alarm['time']}" if alarm else None


def _resolve_state(text: str, last: LastCommand) -> str | None:
    match = _NO_OBJECT.fullmatch(text)
    named = _name_object(last) if match else None
    return f"turn {match['state']} {named}" if match and named else None


def _resolve_grade(text: str, last: LastCommand) -> str | None:
    """Complete "more" and "brighter" if the last command was of that kind, or about a thing."""
    match = _MORE.fullmatch(text)
    if match is None:
        return None
    dimmed = _DIMMED.match(last.text)
    if match["same"] is None and dimmed:
        grade = "darker" if dimmed["verb"].lower() == "dim" else "brighter"
        named = _name_object(last)
        return f"make {named} {grade}" if named else None
    if match["same"] is None:
        return last.text if _GRADE.search(last.text) else None
    if match["same"].lower() in {"louder", "quieter"}:
        return None  # of the loudspeaker in the room
    return f"make the {last.names[0]} {match['same']}" if len(last.names) == 1 else None


def _resolve_part(text: str, last: LastCommand) -> str | None:
    match = _FOLLOW_UP.fullmatch(text) or _TOO.fullmatch(text) or _ONE_OF.fullmatch(text)
    if match is None:
        return None
    part = match["part"]
    if first_word(part) in VERBS or _STATEMENT.fullmatch(part):
        return part
    words = part.lower().removeprefix("the ").split()
    if not words or words[0] in _NOT_A_PART:
        return None
    part = re.sub(r" ones?$", "", part)
    if is_noun_phrase(part):
        return _take_back(text, last, replace_part(last.text, part))
    replaced = replace_value(last.text, part)
    if replaced is not None and _PLACE.match(f" {part}"):
        return _take_back(text, last, replaced)
    if replaced is None and is_thing(part):
        replaced = _take_back(text, last, replace_part(last.text, f"the {part}"))
    is_added = text.lower().startswith(("and ", "also ", "then ", "now "))
    if replaced is None and is_added and (item := _ITEM_OF_LIST.fullmatch(last.text)):
        replaced = f"{item['head']} {part} {item['tail']}"
    return replaced or (part if is_added else None)


def _take_back(text: str, last: LastCommand, replaced: str | None) -> str | None:
    """Undo what was done with the wrong thing: "no, the bedroom light"."""
    is_undone = replaced and last.is_undoable and _CORRECTED.match(text)
    return f"undo that and {replaced}" if is_undone else replaced


_RESOLVERS = (
    _resolve_entry,
    _resolve_time,
    _resolve_pronoun,
    _resolve_state,
    _resolve_grade,
    _resolve_part,
)

"""A family's first week: dialogues as data, and the judgement of the assistant's replies."""

from __future__ import annotations

import re
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Literal, Protocol

from barnabee.understanding.interfaces import Entity, ScheduleEntry
from barnabee.up.demo_home.config import read_home_file

DATA = Path(__file__).parents[1] / "data/first_week"
Verdict = Literal["right", "refused", "wrong", "misleading"]
VERDICTS: tuple[Verdict, ...] = ("right", "refused", "wrong", "misleading")
_REFUSAL = re.compile(
    r"\b(?:(?:ca|could|do|does|did|have|wo|is|are)n't|can ?not|not|no|nothing|only|unable|sorry"
    r"|unavailable|off|fail(?:s|ed)?)\b",
    re.IGNORECASE,
)
SWITCHED = frozenset(
    ("light", "switch", "fan", "cover", "lock", "climate", "media_player", "vacuum")
)
_COMPARISON = re.compile(r"(\w+)([=<>])(.+)")
_TOLERANCE = 3  # of brightness, which is a rounded percentage


@dataclass(frozen=True)
class Turn:
    """One sentence and what is right; see the heads of the files."""

    say: str
    states: Mapping[str, str] = field(default_factory=dict)
    says: str | None = None
    never: str | None = None
    refuses: bool = False
    shopping: tuple[str, ...] | None = None
    rings: tuple[str, ...] | None = None


@dataclass(frozen=True)
class Dialogue:
    """Sentences of one conversation, with the states and notes at its beginning."""

    kind: str
    turns: tuple[Turn, ...]
    is_first: bool = False
    room: str | None = None
    before: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Household(Protocol):
    """The assistant under test, with its home. `rings` is None where entries cannot be read."""

    @property
    def now(self) -> datetime: ...

    async def reset(self, dialogue: Dialogue) -> None:
        """Begin a conversation in the home as `dialogue` describes it."""
        ...

    async def say(self, text: str) -> str: ...

    async def read_states(self, expected: Mapping[str, str]) -> Mapping[str, Entity]:
        """Return all states, once they are as expected or it has been long enough."""
        ...

    async def read_shopping(self) -> Sequence[str]: ...

    async def read_rings(self) -> Sequence[ScheduleEntry] | None: ...


@dataclass(frozen=True)
class Judgement:
    """One turn: its verdict and why."""

    dialogue: Dialogue
    turn: Turn
    reply: str
    verdict: Verdict
    reason: str = ""

    def __str__(self) -> str:
        """Return one line of the report."""
        return (
            f"{self.verdict:10} [{self.dialogue.kind}] {self.turn.say!r} -> {self.reply!r}"
            f"{f' ({self.reason})' if self.reason else ''}"
        )


def load_dialogues() -> list[Dialogue]:
    """Return the dialogues of all files."""
    return [
        _read_dialogue(entry)
        for path in sorted(DATA.glob("*.toml"))
        for entry in tomllib.loads(path.read_text(encoding="utf-8"))["dialogue"]
    ]


async def run_dialogue(dialogue: Dialogue, household: Household) -> list[Judgement]:
    """Say all sentences of `dialogue` and judge each."""
    await household.reset(dialogue)
    judgements = []
    states = await household.read_states(dialogue.before)
    for turn in dialogue.turns:
        reply = await household.say(turn.say)
        after = await household.read_states(turn.states)
        problems = [
            *find_state_problems(turn, states, after),
            *find_reply_problems(turn, reply, household.now.date()),
        ]
        if turn.shopping is not None:
            problems += find_item_problems(turn.shopping, await household.read_shopping())
        if turn.rings is not None and (rings := await household.read_rings()) is not None:
            problems += _compare_rings(turn.rings, rings, household.now)
        verdict = classify(turn, reply, problems, household.now.date())
        judgements.append(Judgement(dialogue, turn, reply, verdict, "; ".join(problems)))
        states = after
    return judgements


def classify(turn: Turn, reply: str, problems: Sequence[str], today: date) -> Verdict:
    """Return the verdict: what is neither right, nor refused, nor asked, has misled the family."""
    if not problems:
        return "right"
    if any(problem.startswith("switched") for problem in problems) or _says_never(
        turn, reply, today
    ):
        return "misleading"
    if _REFUSAL.search(reply):
        return "refused"
    return "wrong" if "?" in reply or not reply else "misleading"


def find_state_problems(
    turn: Turn, before: Mapping[str, Entity], after: Mapping[str, Entity]
) -> Iterator[str]:
    """Yield what is not as expected, and what was switched besides."""
    for entity_id, expected in turn.states.items():
        if not is_in_state(after[entity_id], expected):
            yield f"{entity_id} is {_show(after[entity_id])}, not {expected}"
    for entity_id, entity in after.items():
        is_unexpected = entity.domain in SWITCHED and entity_id not in turn.states
        if is_unexpected and entity_id in before and before[entity_id].state != entity.state:
            yield f"switched {entity_id} to {entity.state}"


def find_reply_problems(turn: Turn, reply: str, today: date) -> Iterator[str]:
    """Yield what is wrong with the words of the reply."""
    if turn.says is not None and not _matches(fill(turn.says, today), reply):
        yield f"does not say {turn.says!r}"
    if _says_never(turn, reply, today):
        yield f"says {turn.never!r}"
    if turn.refuses and not (_REFUSAL.search(reply) or "?" in reply):
        yield "does not refuse"
    if turn.states and turn.says is None and _matches(r"^(?:sorry|i can't|i couldn't)", reply):
        yield "refuses"


def is_in_state(entity: Entity, expected: str) -> bool:
    """Return whether the entity is in the state, like `on brightness>100` or `docked|returning`."""
    state, *attributes = expected.split()
    if state != "*" and entity.state not in state.split("|"):
        return False
    return all(_has_attribute(entity, attribute) for attribute in attributes)


def fill(pattern: str, today: date) -> str:
    """Return `pattern` with the names of days and the events of the demo home's calendar."""

    def find(match: re.Match[str]) -> str:
        if match[1] == "christmas":
            return f"{date(today.year, 12, 25):%A}"
        day = today + timedelta(days=int(match[2]))
        if match[1] == "day":
            return f"{day:%A}"
        entries = tomllib.loads(read_home_file())["device"]["calendar.family"]["entries"]
        return "|".join(entry[3] for entry in entries if entry[0] == day.weekday()) or "nothing"

    return re.sub(r"\{(day|events|christmas)([+-]\d+)?\}", find, pattern)


def report(judgements: Sequence[Judgement]) -> str:
    """Return the counts by kind, and every turn that was not right."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for judgement in judgements:
        for name in (judgement.dialogue.kind, "all"):
            counts[name][judgement.verdict] += 1
        if judgement.dialogue.is_first:
            counts["first days"][judgement.verdict] += 1
    lines = [f"{'':16}{''.join(f'{verdict:>12}' for verdict in VERDICTS)}"]
    for name in sorted(counts, key=lambda name: (name in {"all", "first days"}, name)):
        cells = "".join(f"{counts[name][verdict]:12}" for verdict in VERDICTS)
        lines.append(f"{name:16}{cells}")
    lines += [str(judgement) for judgement in judgements if judgement.verdict != "right"]
    return "\n".join(lines)


def count_right(judgements: Sequence[Judgement]) -> int:
    return sum(judgement.verdict == "right" for judgement in judgements)


def _read_dialogue(entry: Mapping[str, Any]) -> Dialogue:
    known = {"kind", "turns", "week", "room", "before", "notes"}
    assert not entry.keys() - known, entry
    return Dialogue(
        entry["kind"],
        tuple(map(read_turn, entry["turns"])),
        entry.get("week", False),
        entry.get("room"),
        entry.get("before", {}),
        tuple(entry.get("notes", ())),
    )


def read_turn(entry: Mapping[str, Any]) -> Turn:
    known = {"say", "is", "says", "never", "refuses", "list", "rings"}
    assert not entry.keys() - known, entry
    return Turn(
        entry["say"],
        entry.get("is", {}),
        entry.get("says"),
        entry.get("never"),
        entry.get("refuses", False),
        tuple(entry["list"]) if "list" in entry else None,
        tuple(entry["rings"]) if "rings" in entry else None,
    )


def _matches(pattern: str, reply: str) -> bool:
    return re.search(pattern, reply, re.IGNORECASE | re.DOTALL) is not None


def _says_never(turn: Turn, reply: str, today: date) -> bool:
    return turn.never is not None and _matches(fill(turn.never, today), reply)


def _has_attribute(entity: Entity, expected: str) -> bool:
    match = _COMPARISON.fullmatch(expected)
    assert match is not None, expected
    value, wanted = entity.attributes.get(match[1]), match[3]
    if value is None or not re.fullmatch(r"[\d.]+", wanted):
        return str(value) == wanted
    if match[2] == "=":
        tolerance = _TOLERANCE if match[1] == "brightness" else 0.001
        return abs(float(value) - float(wanted)) <= tolerance
    is_above = float(value) > float(wanted)
    return is_above if match[2] == ">" else float(value) < float(wanted)


def _show(entity: Entity) -> str:
    shown = ("brightness", "temperature", "current_position", "volume_level", "source")
    values = (f"{name}={entity.attributes[name]}" for name in shown if name in entity.attributes)
    return " ".join((entity.state, *values))


def find_item_problems(expected: Sequence[str], items: Sequence[str]) -> Iterator[str]:
    unmatched = [one for one in expected if not any(fnmatch(item, one) for item in items)]
    if unmatched or len(expected) != len(items):
        yield f"the shopping list is {list(items)}"


def _compare_rings(
    expected: Sequence[str], rings: Sequence[ScheduleEntry], now: datetime
) -> Iterator[str]:
    left = list(rings)
    is_open = [one for one in expected if not one.startswith("?")]
    for one in is_open:
        kind, label, minutes = re.fullmatch(r"(\w+) (.+) (\S+)", one).groups()  # type: ignore[union-attr]
        found = [ring for ring in left if _is_ring(ring, kind, label, minutes, now)]
        if not found:
            yield f"no {one}"
            continue
        left.remove(found[0])
    if left and len(is_open) == len(expected):
        yield f"rings besides: {[f'{one.kind} {one.label} {one.due}' for one in left]}"


def _is_ring(ring: ScheduleEntry, kind: str, label: str, minutes: str, now: datetime) -> bool:
    if ring.kind != kind or not fnmatch(ring.label, label):
        return False
    left = ring.remaining or ring.due - now
    return minutes == "*" or abs(left - timedelta(minutes=float(minutes))) <= timedelta(minutes=0.5)

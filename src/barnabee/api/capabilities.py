"""What a family wants to know: can the house hear, think, speak and remember? Pure.

Out of the cascade: each ability rests on one thing it cannot do without and on others that make it
better. A state is never better than what it rests on; what nobody has looked at is not known.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from barnabee.api.cascade import NOT_CONFIGURED, Found, Nodes
from barnabee.core.health import HealthState


@dataclass(frozen=True, slots=True)
class Part:
    """Something an ability rests on: a service, or one of its dependencies ("gpu/stt")."""

    where: str
    without: str  # what is said while it is not there


@dataclass(frozen=True, slots=True)
class Ability:
    """What the house can do, on what that rests, and how it is said."""

    key: str
    title: str
    well: str
    must: tuple[Part, ...]
    may: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True)
class Told:
    """One ability as it is now."""

    key: str
    title: str
    state: HealthState
    says: str
    since_s: float


ABILITIES = (
    Ability(
        "hear",
        "Hear",
        "It hears you, and wakes when it is called.",
        (
            Part("voice", "No microphone reaches it just now."),
            Part("gpu", "It cannot hear just now: the part that listens is away."),
            Part("gpu/stt", "It cannot understand speech just now."),
        ),
        (
            Part("gpu/wake", "It does not wake when called; the button works."),
            Part("voice/gpu", "It hears, with less than usual."),
        ),
    ),
    Ability(
        "think",
        "Think",
        "It understands what you ask and can do it.",
        (Part("api", "It cannot think straight just now."),),
        (
            Part("api/home_assistant", "It cannot reach the lights and switches."),
            Part("api/azure_openai", "It can run the house, but not chat."),
            Part("gpu/embed", "It understands plain commands only."),
        ),
    ),
    Ability(
        "speak",
        "Speak",
        "It answers aloud.",
        (
            Part("voice", "No loudspeaker reaches it just now."),
            Part("gpu", "It has lost its voice; recordings and text still work."),
            Part("gpu/tts", "It has lost its voice; recordings and text still work."),
        ),
        (Part("voice/recordings", "It answers, but has no phrases for the wait."),),
    ),
    Ability(
        "remember",
        "Remember",
        "It remembers, and a copy is kept up to date.",
        (Part("api/database", "It cannot look anything up or write it down just now."),),
        (
            Part("redis", "It remembers, but a conversation may be lost if it restarts."),
            Part("worker", "It remembers; what is new is written down later."),
            Part("api/replica", "It remembers, but the copy elsewhere is behind."),
            Part("litestream", "It remembers, but nothing is copied elsewhere just now."),
        ),
    ),
)


def abilities(nodes: Nodes) -> list[Told]:
    """Return every ability in its order."""
    return [_told(one, nodes) for one in ABILITIES]


def _told(ability: Ability, nodes: Nodes) -> Told:
    must = [(part, _found(nodes, part.where)) for part in ability.must]
    may = [(part, _found(nodes, part.where)) for part in ability.may]
    for part, found in must:
        if found is not None and found.state == HealthState.UNHEALTHY:
            return _as(ability, HealthState.UNHEALTHY, part.without, found)
    if any(found is None or found.state == HealthState.UNKNOWN for _, found in must):
        return _as(ability, HealthState.UNKNOWN, "Nobody knows yet.", None)
    for part, found in may:
        if found is not None and found.state != HealthState.HEALTHY and found.code != NOT_CONFIGURED:
            return _as(ability, HealthState.DEGRADED, part.without, found)
    for part, found in must:  # what it cannot do without works, with less
        if found is not None and "/" in part.where and found.state == HealthState.DEGRADED:
            return _as(ability, HealthState.DEGRADED, _sentence(found) or ability.well, found)
    newest = max(filter(None, (found for _, found in must)), key=lambda one: one.since_s)
    return _as(ability, HealthState.HEALTHY, ability.well, newest)


def _as(ability: Ability, state: HealthState, says: str, found: Found | None) -> Told:
    return Told(ability.key, ability.title, state, says, found.since_s if found else 0.0)


def _found(nodes: Nodes, where: str) -> Found | None:
    service, _, need = where.partition("/")
    node = nodes.get(service)
    if node is None:
        return None
    if not need:
        return node.itself
    if need in node.needs:
        return node.needs[need]
    # A service that is away says nothing of what it depends on.
    return node.itself if node.itself.state in {HealthState.UNHEALTHY, HealthState.UNKNOWN} else None


def _sentence(found: Found) -> str:
    text = (found.message or "").strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}." if text else ""


def worst(states: Iterable[HealthState]) -> HealthState:
    """Return the state of all together."""
    order = (HealthState.UNHEALTHY, HealthState.UNKNOWN, HealthState.DEGRADED)
    there = set(states)
    return next((state for state in order if state in there), HealthState.HEALTHY)

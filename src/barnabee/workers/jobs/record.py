"""Writes what the API accepted into the database; doing it twice changes nothing."""

from __future__ import annotations

from typing import Any

from barnabee.store.conversations import Conversations, Fact, Facts, Turn
from barnabee.store.turn_timings import Spoken, SpokenTurns
from barnabee.workers.context import Context


async def record_turn(context: Context, payload: dict[str, Any]) -> None:
    """Keep one turn; `payload` is `Turn.as_dict()`."""
    turn = Turn.from_dict(payload)
    await Conversations(await context.keeper.database()).record(turn)


async def record_spoken(context: Context, payload: dict[str, Any]) -> None:
    """Keep what the voice measured of a turn; `payload` is `Spoken.as_dict()`."""
    spoken = Spoken.from_dict(payload)
    await SpokenTurns(await context.keeper.database()).record(spoken)


async def remember_fact(context: Context, payload: dict[str, Any]) -> None:
    """Keep one fact; `payload` is `Fact.as_dict()`."""
    fact = Fact.from_dict(payload)
    await Facts(await context.keeper.database()).remember(fact)

"""One command from its parsed form to its answer: session, understanding, record, figures.

The hot path of the house: two round trips to Redis (load the session; save it and hand over the
turn, in one packet), nothing waited for that need not be. Knows no HTTP.
"""

from __future__ import annotations

import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from barnabee.api.command_request import Command
from barnabee.api.metrics import CommandMetrics
from barnabee.api.turn_recorder import Recorder
from barnabee.core import trace_context
from barnabee.store.conversations import TurnRecord, format_timestamp
from barnabee.store.sessions import Exchange, Session, Sessions
from barnabee.understanding.command_processor import CommandOutcome, CommandServices, process_command

TRACES_KEPT = 4096


@dataclass
class Dialogue:
    """Answers commands."""

    parts: CommandServices
    sessions: Sessions
    recorder: Recorder
    metrics: CommandMetrics
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    _traces: OrderedDict[str, None] = field(default_factory=OrderedDict)

    async def answer(self, command: Command) -> dict[str, Any]:
        """Return the JSON form of the answer; raises only when the turn could not be kept."""
        self.recorder.check_room()
        begun = time.perf_counter()
        trace_id = self._own_trace()
        created_at = format_timestamp(self.now())
        session = await self._session(command.session_id if command.kept else None)
        loaded = time.perf_counter()
        outcome = await process_command(
            command.utterance,
            self.parts,
            history=session.turns,
            session_id=session.session_id,
            speaker=command.speaker,
        )
        outcome.latency_ms["session"] = _ms(loaded - begun)
        outcome.latency_ms["total"] = _ms(time.perf_counter() - begun)
        turn = _turn(trace_id, session, command, outcome, created_at)
        storing = time.perf_counter()
        if command.kept or outcome.acted:  # what changed something is always in the record
            await self._keep(session, turn, outcome)
        done = time.perf_counter()
        latency_ms = {
            **outcome.latency_ms,
            "store": _ms(done - storing),
            "total": _ms(done - begun),
        }
        self.metrics.command(outcome.intent, outcome.band, outcome.degraded, latency_ms)
        return {
            "reply": outcome.reply,
            "intent": outcome.intent,
            "actions": outcome.actions,
            "session_id": session.session_id,
            "trace_id": trace_id,
            "degraded": outcome.degraded,
            "code": outcome.code,
            "latency_ms": latency_ms,
        }

    async def _session(self, session_id: str | None) -> Session:
        if session_id is None:
            return Session(secrets.token_hex(8))
        return await self.sessions.load(session_id)

    async def _keep(self, session: Session, turn: TurnRecord, outcome: CommandOutcome) -> None:
        exchange = Exchange(turn.utterance, turn.reply, outcome.stored_intent)
        following = session.with_turn(exchange)
        for dependency in await self.recorder.record(turn, following, acted=outcome.acted):
            outcome.add_degraded(dependency)
        self.metrics.unwritten.set(self.recorder.held)

    def _own_trace(self) -> str:
        """Return a trace id that no other command has, because turns are recorded by it.

        A caller may send several commands under one trace; from the second on they get their own.
        """
        trace_id = trace_context.get_trace_id()
        if not trace_id or trace_id in self._traces:
            trace_id = trace_context.adopt_trace_id(None)
        self._traces[trace_id] = None
        if len(self._traces) > TRACES_KEPT:
            self._traces.popitem(last=False)
        return trace_id


def _turn(
    trace_id: str, session: Session, command: Command, outcome: CommandOutcome, created_at: str
) -> TurnRecord:
    return TurnRecord(
        trace_id=trace_id,
        session_id=session.session_id,
        speaker=command.speaker,
        utterance=command.utterance,
        reply=outcome.reply,
        intent=outcome.intent,
        actions=outcome.actions,
        degraded=list(outcome.degraded),
        latency_ms=dict(outcome.latency_ms),
        created_at=created_at,
    )


def _ms(seconds: float) -> float:
    return round(seconds * 1000, 3)

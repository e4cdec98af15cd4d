"""Command handling: session, intent recognition, execution, turn record and metrics.

On the latency-critical path: two round trips to Redis (load the session; save it and queue the
turn in one pipeline). Independent of HTTP.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from weakref import WeakValueDictionary

from prometheus_client import Counter, Gauge, Histogram

from barnabee.api.request_bodies import CommandRequest
from barnabee.api.turn_recorder import TurnWriter
from barnabee.core import tracing
from barnabee.core.metrics import Metrics
from barnabee.store.conversations import TurnRecord, format_timestamp
from barnabee.store.sessions import Exchange, Session, Sessions
from barnabee.understanding.command_context import CommandOutcome, CommandServices, CommandSource
from barnabee.understanding.command_processor import process_command
from barnabee.understanding.interfaces import SentenceSink

# A local reply takes 1 ms, Home Assistant 50 ms, a language model seconds.
BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 1.5, 2.5, 5.0, 10.0)
MAX_RECENT_TRACES = 4096


@dataclass(frozen=True)
class CommandMetrics:
    """Metrics of commands; label children are cached because a lookup costs more than counting."""

    stages: Histogram
    intents: Counter
    degraded: Counter
    unwritten: Gauge
    _stage: dict[str, Histogram] = field(default_factory=dict)
    _intent: dict[tuple[str, str], Counter] = field(default_factory=dict)

    @classmethod
    def register(cls, metrics: Metrics) -> CommandMetrics:
        """Create the series in the service's registry."""
        registry = metrics.registry
        return cls(
            Histogram(
                "barnabee_stage_duration_seconds",
                "Duration of a stage of a command.",
                ("stage",),
                buckets=BUCKETS_S,
                registry=registry,
            ),
            Counter(
                "barnabee_intents", "Recognized intents.", ("intent", "band"), registry=registry
            ),
            Counter(
                "barnabee_commands_degraded",
                "Commands completed without a dependency.",
                ("dependency",),
                registry=registry,
            ),
            Gauge(
                "barnabee_turns_unwritten",
                "Turns held in memory because neither Redis nor the database accepts them.",
                registry=registry,
            ),
        )

    def count_command(
        self, intent: str, band: str, degraded: Sequence[str], latency_ms: Mapping[str, float]
    ) -> None:
        """Count one completed command."""
        for stage, spent_ms in latency_ms.items():
            series = self._stage.get(stage)
            if series is None:
                series = self._stage[stage] = self.stages.labels(stage)
            series.observe(spent_ms / 1000)
        counter = self._intent.get((intent, band))
        if counter is None:
            counter = self._intent[intent, band] = self.intents.labels(intent, band)
        counter.inc()
        for dependency in degraded:
            self.degraded.labels(dependency).inc()


@dataclass
class CommandHandler:
    """Handles command requests."""

    services: CommandServices
    sessions: Sessions
    turn_writer: TurnWriter
    metrics: CommandMetrics
    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    take_missed: Callable[[str | None], Awaitable[str]] | None = None
    _recent_traces: OrderedDict[str, None] = field(default_factory=OrderedDict)
    _session_locks: WeakValueDictionary[str, asyncio.Lock] = field(
        default_factory=WeakValueDictionary
    )

    async def handle(
        self, command: CommandRequest, *, emit: SentenceSink | None = None
    ) -> dict[str, Any]:
        """Return the JSON form of the response; raises only if the turn could not be recorded.

        `emit` receives sentences of the reply before it is complete. Commands of one session run
        one after another: each may refer to the last one.
        """
        if command.session_id is None or not command.kept:
            return await self._handle(command, emit)
        async with self._session_locks.setdefault(command.session_id, asyncio.Lock()):
            return await self._handle(command, emit)

    async def _handle(self, command: CommandRequest, emit: SentenceSink | None) -> dict[str, Any]:
        self.turn_writer.check_capacity()
        begun = time.perf_counter()
        trace_id = self._take_trace_id()
        created_at = format_timestamp(self.now())
        session = await self._load_session(command.session_id if command.kept else None)
        loaded = time.perf_counter()
        outcome = await process_command(
            command.utterance,
            self.services,
            CommandSource(session.turns, session.session_id, command.speaker, command.room),
            emit=emit,
        )
        await self._tell_missed(command, outcome)
        outcome.latency_ms["session"] = _to_ms(loaded - begun)
        outcome.latency_ms["total"] = _to_ms(time.perf_counter() - begun)
        turn = _make_turn(trace_id, session, command, outcome, created_at)
        processed = time.perf_counter()
        if command.kept or outcome.acted:  # whatever changed something is recorded
            await self._record(session, turn, outcome)
        ended = time.perf_counter()
        latency_ms = {
            **outcome.latency_ms,
            "store": _to_ms(ended - processed),
            "total": _to_ms(ended - begun),
        }
        self.metrics.count_command(outcome.intent, outcome.band, outcome.degraded, latency_ms)
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

    async def _tell_missed(self, command: CommandRequest, outcome: CommandOutcome) -> None:
        """Add what was missed; not to a question, nor to a reply that was streamed."""
        is_streamed = "llm_first_token" in outcome.latency_ms
        if self.take_missed is None or not command.kept or is_streamed or outcome.has_question():
            return
        if missed := await self.take_missed(command.room):
            outcome.reply = f"{outcome.reply} {missed}".strip()

    async def _load_session(self, session_id: str | None) -> Session:
        if session_id is None:
            return Session(secrets.token_hex(8))
        return await self.sessions.load(session_id)

    async def _record(self, session: Session, turn: TurnRecord, outcome: CommandOutcome) -> None:
        exchange = Exchange(turn.utterance, turn.reply, outcome.intent, outcome.context)
        updated = session.with_turn(exchange)
        for dependency in await self.turn_writer.record(turn, updated, acted=outcome.acted):
            outcome.add_degraded(dependency)
        self.metrics.unwritten.set(self.turn_writer.held_count)

    def _take_trace_id(self) -> str:
        """Return a trace id that no recent command has, because it is the key of the turn.

        Of several commands that a client sends under one trace, the second and later ones get new
        trace ids.
        """
        trace_id = tracing.get_trace_id()
        if not trace_id or trace_id in self._recent_traces:
            trace_id = tracing.adopt_trace_id(None)
        self._recent_traces[trace_id] = None
        if len(self._recent_traces) > MAX_RECENT_TRACES:
            self._recent_traces.popitem(last=False)
        return trace_id


def _make_turn(
    trace_id: str,
    session: Session,
    command: CommandRequest,
    outcome: CommandOutcome,
    created_at: str,
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


def _to_ms(seconds: float) -> float:
    return round(seconds * 1000, 3)

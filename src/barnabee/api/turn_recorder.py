"""Durable recording of turns, turn timings and facts, through the queue or the database.

A turn is recorded before its command is answered:

1. The queue (Redis with append-only file) accepts a turn together with its session in one
   pipeline; the worker writes it to the database.
2. Without Redis the turn is written to the database directly.
3. Without both, a command that changed nothing outside is refused with 503 and Retry-After, so that
   the client can safely repeat it. A command that did change something is answered as successful
   and degraded, because repeating it would undo it; its turn is held in memory until Redis or the
   database accepts it. Capacity for that is checked before the command is executed.

Turn timings from the voice service take the same way. Without both stores they are held in memory;
at capacity the request is refused and the voice service repeats it.
"""

from __future__ import annotations

import asyncio
import zlib
from collections import OrderedDict
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
import structlog

from barnabee.api.request_bodies import TurnTimingsRequest
from barnabee.clients.queue import JobQueue
from barnabee.core import tracing
from barnabee.core.errors import Overloaded, Unavailable
from barnabee.store.conversations import Conversations, Fact, Facts, TurnRecord, format_timestamp
from barnabee.store.db import Database
from barnabee.store.sessions import Session, Sessions
from barnabee.store.turn_timings import TurnTimings, TurnTimingsStore
from barnabee.understanding.interfaces import KnownFact, Vectors

TURN_JOB = "record_turn"
TIMINGS_JOB = "record_spoken"
FACT_JOB = "remember_fact"
MAX_HELD = 1000
FLUSH_EVERY_S = 1.0
RETRY_AFTER_S = 2
VECTOR_DTYPE = np.dtype("<f4")

log = structlog.get_logger()


class DatabaseSource(Protocol):
    """The part of `store.provider.DatabaseProvider` that is used here."""

    async def database(self) -> Database:
        """Return the open database."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """A row and the job that writes it in the worker."""

    job: str
    job_id: str
    row: TurnRecord | TurnTimings


class TurnWriter:
    """Records turns and turn timings."""

    def __init__(
        self,
        sessions: Sessions,
        queue: JobQueue,
        databases: DatabaseSource,
        *,
        max_held: int = MAX_HELD,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._sessions = sessions
        self._queue = queue
        self._databases = databases
        self._max_held = max_held
        self._now = now
        self._held: OrderedDict[str, _Entry] = OrderedDict()

    @property
    def held_count(self) -> int:
        """Number of entries that are in memory only."""
        return len(self._held)

    def check_capacity(self) -> None:
        """Raise Overloaded if no further turn could be held in memory."""
        if len(self._held) >= self._max_held:
            raise Overloaded(what="the record of turns", retry_after_s=RETRY_AFTER_S)

    async def record(self, turn: TurnRecord, session: Session, *, acted: bool) -> list[str]:
        """Record `turn` and save `session`; return the unavailable dependencies.

        Raises Unavailable only for a command that changed nothing outside (`acted` false).
        """
        pipeline = self._queue.make_pipeline(TURN_JOB, turn.as_dict(), job_id=turn.trace_id)
        if await self._sessions.save(session, pipeline):
            return []
        entry = _Entry(TURN_JOB, turn.trace_id, turn)
        try:
            await self._write(entry)
        except Unavailable as error:
            if not acted:
                error.retry_after_s = error.retry_after_s or RETRY_AFTER_S
                raise
            return self._hold(entry, error)
        return ["redis"]

    async def record_timings(self, trace_id: str, request: TurnTimingsRequest) -> list[str]:
        """Record timings of a turn, which may not exist yet; return what was unavailable."""
        self.check_capacity()
        created_at = format_timestamp(self._now())
        timings = TurnTimings(trace_id=trace_id, created_at=created_at, **request.model_dump())
        entry = _Entry(TIMINGS_JOB, f"spoken-{trace_id}", timings)
        try:
            await self._enqueue(entry)
        except Unavailable:
            try:
                await self._write(entry)
            except Unavailable as error:
                return self._hold(entry, error)
            return ["redis"]
        return []

    async def flush(self) -> None:
        """Record the held entries, oldest first, until one fails."""
        for job_id, entry in list(self._held.items()):
            try:
                await self._enqueue_or_write(entry)
            except Unavailable:
                return
            self._held.pop(job_id, None)
            if not self._held:
                log.info("held_turns_recorded")

    async def flush_periodically(self) -> None:
        """Flush until cancelled, then once more."""
        try:
            while True:
                await asyncio.sleep(FLUSH_EVERY_S)
                await self.flush()
        finally:
            await self.flush()
            if self._held:
                log.error("turns_lost", code="unavailable", trace_ids=list(self._held))

    def _hold(self, entry: _Entry, error: Unavailable) -> list[str]:
        self._held.setdefault(entry.job_id, entry)
        log.warning("turn_held", code=error.code, held=self.held_count, reason=str(error))
        return ["redis", "database"]

    async def _enqueue_or_write(self, entry: _Entry) -> None:
        try:
            await self._enqueue(entry)
        except Unavailable:
            await self._write(entry)

    async def _enqueue(self, entry: _Entry) -> None:
        await self._queue.enqueue(entry.job, entry.row.as_dict(), job_id=entry.job_id)

    async def _write(self, entry: _Entry) -> None:
        database = await self._databases.database()
        if isinstance(entry.row, TurnTimings):
            await TurnTimingsStore(database).record(entry.row)
        else:
            await Conversations(database).record(entry.row)


class DatabaseFactMemory:
    """`understanding.interfaces.FactMemory` in the database.

    A fact is written at once, so that the next command can use it. While the database refuses
    writes, the fact is queued for the worker. Facts are read on every use, because the worker
    writes some.
    """

    def __init__(
        self, queue: JobQueue, databases: DatabaseSource, now: Callable[[], datetime]
    ) -> None:
        self._queue = queue
        self._databases = databases
        self._now = now

    async def remember(self, text: str, vector: Vectors | None, speaker: str | None) -> list[str]:
        """Store `text` under the current trace id; return the unavailable dependencies.

        Raises Unavailable if neither the database nor the queue accepts it. One command can store
        several facts, and a repeated one stores none again: the key is that of trace and text.
        """
        raw = b"" if vector is None else vector.astype(VECTOR_DTYPE).tobytes()
        created_at = format_timestamp(self._now())
        key = f"{tracing.get_trace_id()}-{zlib.crc32(text.encode()):08x}"
        fact = Fact(key, speaker, text, raw, created_at)
        try:
            await Facts(await self._databases.database()).remember(fact)
        except Unavailable:
            await self._queue.enqueue(FACT_JOB, fact.as_dict(), job_id=f"fact-{fact.trace_id}")
            return ["database"]
        return []

    async def facts(self) -> Sequence[KnownFact]:
        """Return all facts, oldest first."""
        rows = await Facts(await self._databases.database()).all()
        return [
            KnownFact(row.text, _decode_vector(row.vector), row.trace_id, row.created_at)
            for row in rows
        ]

    async def forget(self, fact_ids: Collection[str]) -> None:
        """Delete facts in the database, or raise Unavailable: a deletion is never queued."""
        await Facts(await self._databases.database()).forget(fact_ids)


def _decode_vector(raw: bytes) -> Vectors | None:
    return np.frombuffer(raw, dtype=VECTOR_DTYPE).astype(np.float32) if raw else None

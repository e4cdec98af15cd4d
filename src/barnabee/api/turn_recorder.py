"""Makes sure that a turn is kept: in the queue, else in the database, else refused or held.

In which order and why:

1. The queue (Redis, append-only file) takes a turn in a fraction of a millisecond, in one packet
   with the session, and the worker writes it down. This is awaited before the answer goes out, so
   an answered turn is a kept turn.
2. Without Redis the turn is written into the database directly.
3. Without both nothing can be kept. If the command changed nothing outside, it is refused (503 with
   Retry-After): asking again is safe. If a light was switched, saying "failed" would be a lie and
   trying again would switch it back, so it is answered as done, named as degraded, and its turn is
   held in memory until one of the two takes it. Room for that is checked before the command is
   carried out: when the memory is full, commands are refused before anything happens.

What the voice measured of a turn takes the same way. It is about something that has happened, so
without Redis and database it is held too; when the memory is full it is refused, and the voice
may say it again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np
import structlog

from barnabee.api.request_bodies import TurnTimingsRequest
from barnabee.clients.queue import JobQueue, make_enqueue_commands
from barnabee.core import trace_context
from barnabee.core.errors import Overloaded, Unavailable
from barnabee.store.conversations import Conversations, Fact, Facts, TurnRecord, format_timestamp
from barnabee.store.db import Database
from barnabee.store.sessions import Session, Sessions
from barnabee.store.turn_timings import TurnTimings, TurnTimingsStore
from barnabee.understanding.interfaces import KnownFact, Vectors

TURN_JOB = "record_turn"
TIMINGS_JOB = "record_spoken"
MAX_HELD = 1000
FLUSH_EVERY_S = 1.0
RETRY_AFTER_S = 2

log = structlog.get_logger()


class DatabaseSource(Protocol):
    """The part of `store.provider.DatabaseProvider` that is used here."""

    async def database(self) -> Database:
        """Return the open database."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """Something for the record, and how the worker is told of it."""

    job: str
    job_id: str
    row: TurnRecord | TurnTimings


class TurnWriter:
    """The way of a turn into the record."""

    def __init__(
        self,
        sessions: Sessions,
        queue: JobQueue,
        databases: DatabaseSource,
        *,
        held_at_most: int = MAX_HELD,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        """Hold nothing yet."""
        self._sessions = sessions
        self._queue = queue
        self._databases = databases
        self._held_at_most = held_at_most
        self._now = now
        self._held: OrderedDict[str, _Entry] = OrderedDict()

    @property
    def held(self) -> int:
        """Return how much is in memory only."""
        return len(self._held)

    def check_room(self) -> None:
        """Refuse a command whose turn could not even be held."""
        if len(self._held) >= self._held_at_most:
            raise Overloaded(what="the record of turns", retry_after_s=RETRY_AFTER_S)

    async def record(self, turn: TurnRecord, session: Session, *, acted: bool) -> list[str]:
        """Keep `turn` and `session`; return what was missing.

        Raises Unavailable only for a command that changed nothing outside.
        """
        job = make_enqueue_commands(TURN_JOB, turn.as_dict(), job_id=turn.trace_id)
        if await self._sessions.save(session, also=job):
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

    async def record_spoken(self, trace_id: str, told: TurnTimingsRequest) -> list[str]:
        """Keep what the voice told of a turn, written already or not; return what was missing."""
        self.check_room()
        created_at = format_timestamp(self._now())
        spoken = TurnTimings(trace_id=trace_id, created_at=created_at, **told.model_dump())
        entry = _Entry(TIMINGS_JOB, f"spoken-{trace_id}", spoken)
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
        """Try to keep what is held, oldest first."""
        for job_id, entry in list(self._held.items()):
            try:
                await self._keep(entry)
            except Unavailable:
                return
            self._held.pop(job_id, None)
            if not self._held:
                log.info("turns_kept_after_all")

    async def flush_for_ever(self) -> None:
        """Go on trying until cancelled, then try a last time."""
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
        log.warning("turn_held", code=error.code, held=self.held, reason=str(error))
        return ["redis", "database"]

    async def _keep(self, entry: _Entry) -> None:
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


VECTOR_DTYPE = np.dtype("<f4")


class DatabaseFactMemory:
    """Facts in the database."""

    def __init__(self, queue: JobQueue, databases: DatabaseSource, now: Callable[[], datetime]) -> None:
        """Keep nothing in memory: there are few facts, and the worker may write some."""
        self._queue = queue
        self._databases = databases
        self._now = now

    async def remember(self, text: str, vector: Vectors | None, speaker: str | None) -> list[str]:
        """Keep `text` under this command's trace id; Unavailable when nothing takes it."""
        raw = b"" if vector is None else vector.astype(VECTOR_DTYPE).tobytes()
        fact = Fact(trace_context.get_trace_id(), speaker, text, raw, format_timestamp(self._now()))
        try:
            await Facts(await self._databases.database()).remember(fact)
        except Unavailable:
            job_id = f"fact-{fact.trace_id}"
            await self._queue.enqueue("remember_fact", fact.as_dict(), job_id=job_id)
            return ["database"]
        return []

    async def facts(self) -> Sequence[KnownFact]:
        """Return everything that is remembered, oldest first."""
        found = await Facts(await self._databases.database()).all()
        return [KnownFact(fact.text, _vector(fact.vector)) for fact in found]


def _vector(raw: bytes) -> Vectors | None:
    return np.frombuffer(raw, dtype=VECTOR_DTYPE).astype(np.float32) if raw else None

"""What the family told the house to remember: `understanding.interfaces.FactMemory` on the database.

A fact is written at once, so that it can be asked for in the next sentence; while the database does
not take it, the queue does, and the worker writes it later.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

import numpy as np

from barnabee.api.turn_recorder import Databases
from barnabee.clients.queue import JobQueue
from barnabee.core import trace_context
from barnabee.core.errors import Unavailable
from barnabee.store.conversations import Fact, Facts, format_timestamp
from barnabee.understanding.interfaces import KnownFact, Vectors

WIRE = np.dtype("<f4")


class HouseMemory:
    """Facts in the database."""

    def __init__(self, queue: JobQueue, databases: Databases, now: Callable[[], datetime]) -> None:
        """Keep nothing in memory: there are few facts, and the worker may write some."""
        self._queue = queue
        self._databases = databases
        self._now = now

    async def remember(self, text: str, vector: Vectors | None, speaker: str | None) -> list[str]:
        """Keep `text` under this command's trace id; Unavailable when nothing takes it."""
        raw = b"" if vector is None else vector.astype(WIRE).tobytes()
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
    return np.frombuffer(raw, dtype=WIRE).astype(np.float32) if raw else None

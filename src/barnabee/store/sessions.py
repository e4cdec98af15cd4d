"""Conversation sessions: the recent exchanges of each, in Redis with an expiry.

Recent sessions are cached in memory (bounded), so that a conversation continues when Redis fails;
changed ones are written back when Redis answers again. One round trip to load, one to save.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import structlog
from pydantic_core import to_json

from barnabee.core.errors import DependencyDown
from barnabee.core.redis_client import RedisClient, RedisPipeline

KEY_PREFIX = "barnabee:session:"
MAX_IN_MEMORY = 512
RETRY_EVERY_S = 0.5

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Exchange:
    """One utterance and its reply.

    `context` is JSON for the next turn: `question`, `targets`, `undo` and `text`, each if there is
    one.
    """

    utterance: str
    reply: str
    intent: str
    context: Mapping[str, Any] = field(default_factory=dict)


def _load_exchange(
    utterance: object, reply: object, intent: object, context: object = None
) -> Exchange:
    """Return a stored exchange; those of older versions have no context."""
    table = context if isinstance(context, dict) else {}
    return Exchange(str(utterance), str(reply), str(intent), table)


@dataclass(frozen=True, slots=True)
class Session:
    """The last exchanges of one conversation, oldest first."""

    session_id: str
    turns: tuple[Exchange, ...] = ()

    def with_turn(self, exchange: Exchange) -> Session:
        return replace(self, turns=(*self.turns, exchange))

    def dumps(self) -> bytes:
        """Return the JSON stored in Redis."""
        turns = [
            [turn.utterance, turn.reply, turn.intent, *([turn.context] if turn.context else ())]
            for turn in self.turns
        ]
        return to_json(turns)  # a quarter of the time of json.dumps

    @classmethod
    def loads(cls, session_id: str, text: str | bytes) -> Session:
        """Return the session in JSON `text`; ValueError when it has another form."""
        try:
            return cls(session_id, tuple(_load_exchange(*turn) for turn in json.loads(text)))
        except TypeError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _CachedSession:
    """A session and its JSON in Redis; `expires_at_s` is a time of the monotonic clock."""

    expires_at_s: float
    text: bytes
    session: Session


class Sessions:
    """Loads and saves sessions; `degraded` while they are in memory only."""

    def __init__(
        self,
        redis: RedisClient,
        ttl_s: int,
        max_turns: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Expire a session `ttl_s` after it was saved; keep its last `max_turns` turns."""
        self._redis = redis
        self._ttl_s = ttl_s
        self._max_turns = max_turns
        self._clock = clock
        self._cache: OrderedDict[str, _CachedSession] = OrderedDict()
        self._unwritten: set[str] = set()
        self._retry_at_s = 0.0
        self.degraded = False

    async def load(self, session_id: str) -> Session:
        """Return the session; an empty one when it is new or expired."""
        if not await self._is_redis_available():
            return self._cached(session_id)
        try:
            text = await self._redis.get(KEY_PREFIX + session_id)
        except DependencyDown as error:
            self._mark_degraded(error)
            return self._cached(session_id)
        if text is None:
            self._cache.pop(session_id, None)
            return Session(session_id)
        cached = self._cache.get(session_id)
        if cached is not None and cached.text == text:  # usual: no other process changed it
            return cached.session
        session = self._parse(session_id, text)
        self._put_in_cache(session, text)
        return session

    async def save(self, session: Session, pipeline: RedisPipeline | None = None) -> bool:
        """Save the session for another `ttl_s`, in memory when Redis does not answer.

        `pipeline` has further commands for the same round trip; returns whether Redis executed all.
        """
        session = replace(session, turns=session.turns[-self._max_turns :])
        text = session.dumps()
        self._put_in_cache(session, text)
        if not await self._is_redis_available():
            self._unwritten.add(session.session_id)
            return False
        try:
            await self._write(session.session_id, text, self._ttl_s, pipeline)
        except DependencyDown as error:
            self._mark_degraded(error)
            self._unwritten.add(session.session_id)
            return False
        return True

    async def _is_redis_available(self) -> bool:
        """Return whether to use Redis; after an outage, first write back changed sessions."""
        if not self.degraded:
            return True
        if self._clock() < self._retry_at_s:
            return False
        self._retry_at_s = self._clock() + RETRY_EVERY_S
        written = 0
        try:
            await self._redis.ping()
            while self._unwritten:
                session_id = next(iter(self._unwritten))
                cached = self._cache[session_id]
                ttl_s = int(cached.expires_at_s - self._clock())
                if ttl_s > 0:
                    await self._write(session_id, cached.text, ttl_s)
                self._unwritten.discard(session_id)
                written += 1
        except DependencyDown:
            return False
        self.degraded = False
        log.info("sessions_back_in_redis", sessions=written)
        return True

    async def _write(
        self, session_id: str, text: bytes, ttl_s: int, pipeline: RedisPipeline | None = None
    ) -> None:
        if pipeline is None:
            await self._redis.set(KEY_PREFIX + session_id, text, ex=ttl_s)
        else:
            pipeline.set(KEY_PREFIX + session_id, text, ex=ttl_s)
            await pipeline.execute()

    def _parse(self, session_id: str, text: bytes) -> Session:
        try:
            return Session.loads(session_id, text)
        except ValueError as error:  # not written by us: start anew, or every turn fails
            log.warning("session_unreadable", code="bad_request", reason=str(error))
            return Session(session_id)

    def _mark_degraded(self, error: DependencyDown) -> None:
        self._retry_at_s = self._clock() + RETRY_EVERY_S
        if not self.degraded:
            self.degraded = True
            log.warning("sessions_in_memory", code=error.code, reason=str(error))

    def _put_in_cache(self, session: Session, text: bytes) -> None:
        cached = _CachedSession(self._clock() + self._ttl_s, text, session)
        self._cache[session.session_id] = cached
        self._cache.move_to_end(session.session_id)
        while len(self._cache) > MAX_IN_MEMORY:
            oldest, _ = self._cache.popitem(last=False)
            self._unwritten.discard(oldest)

    def _cached(self, session_id: str) -> Session:
        cached = self._cache.get(session_id)
        if cached is None or cached.expires_at_s <= self._clock():
            return Session(session_id)
        return cached.session

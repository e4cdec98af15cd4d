"""Who is talking about what right now: in Redis with an expiry, in memory while Redis is away.

Every session seen lately is kept in memory too (bounded), so that a conversation goes on where it
was when Redis disappears. What changed meanwhile is written back when Redis answers again. One
round trip to load, one to save.
"""

from __future__ import annotations

import json
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import structlog
from pydantic_core import to_json

from barnabee.core.errors import DependencyDown
from barnabee.core.redis_client import Part

KEY = "barnabee:session:"
KEPT_IN_MEMORY = 512
RETRY_EVERY_S = 0.5

log = structlog.get_logger()


class Link(Protocol):
    """The part of `core.redis_client.RedisLink` that is used here."""

    async def command(self, *parts: Part) -> Any:
        """Return Redis's answer; DependencyDown when there is none."""

    async def transaction(self, *commands: tuple[Part, ...]) -> list[Any]:
        """Do all `commands` or none, in one round trip; return their answers."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """One thing said and its answer."""

    utterance: str
    reply: str
    intent: str


@dataclass(frozen=True, slots=True)
class Session:
    """The last exchanges of one conversation, oldest first."""

    session_id: str
    turns: tuple[Exchange, ...] = ()

    def with_turn(self, exchange: Exchange) -> Session:
        """Return this session with one exchange more."""
        return replace(self, turns=(*self.turns, exchange))

    def dumps(self) -> bytes:
        """Return the text kept in Redis."""
        turns = [[one.utterance, one.reply, one.intent] for one in self.turns]
        return to_json(turns)  # a quarter of the time of json.dumps

    @classmethod
    def loads(cls, session_id: str, text: str | bytes) -> Session:
        """Return the session of a text; ValueError when it is not one of ours."""
        try:
            return cls(session_id, tuple(Exchange(*map(str, one)) for one in json.loads(text)))
        except TypeError as error:
            raise ValueError(str(error)) from error


@dataclass(frozen=True, slots=True)
class _Kept:
    """A session in memory: until when it counts, its text in Redis, and what that text says."""

    until_s: float
    text: bytes
    session: Session


class Sessions:
    """The conversations of the moment."""

    def __init__(
        self,
        redis: Link,
        ttl_s: int,
        turns_kept: int,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Forget a session `ttl_s` after it was saved, and all but its last `turns_kept` turns."""
        self._redis = redis
        self._ttl_s = ttl_s
        self._turns_kept = turns_kept
        self._clock = clock
        self._memory: OrderedDict[str, _Kept] = OrderedDict()
        self._unwritten: set[str] = set()
        self._retry_at_s = 0.0
        self.degraded = False

    async def load(self, session_id: str) -> Session:
        """Return the session, a new empty one when there is none."""
        if not await self._back():
            return self._remembered(session_id)
        try:
            text = await self._redis.command("GET", KEY + session_id)
        except DependencyDown as error:
            self._lost(error)
            return self._remembered(session_id)
        if text is None:
            self._memory.pop(session_id, None)
            return Session(session_id)
        kept = self._memory.get(session_id)
        if kept is not None and kept.text == text:  # the usual case: nobody else changed it
            return kept.session
        session = self._read(session_id, text)
        self._remember(session, text)
        return session

    async def save(self, session: Session, *, also: Sequence[tuple[Part, ...]] = ()) -> bool:
        """Keep the session for another `ttl_s`; never fails for want of Redis.

        `also` are other commands for the same round trip; return whether Redis did all of it.
        """
        session = replace(session, turns=session.turns[-self._turns_kept :])
        text = session.dumps()
        self._remember(session, text)
        if not await self._back():
            self._unwritten.add(session.session_id)
            return False
        try:
            await self._write(session.session_id, text, self._ttl_s, also)
        except DependencyDown as error:
            self._lost(error)
            self._unwritten.add(session.session_id)
            return False
        return True

    async def _back(self) -> bool:
        """Return whether Redis is to be used; after an outage, write back what it missed."""
        if not self.degraded:
            return True
        if self._clock() < self._retry_at_s:
            return False
        self._retry_at_s = self._clock() + RETRY_EVERY_S
        written = 0
        try:
            await self._redis.command("PING")
            while self._unwritten:
                session_id = next(iter(self._unwritten))
                kept = self._memory[session_id]
                left_s = int(kept.until_s - self._clock())
                if left_s > 0:
                    await self._write(session_id, kept.text, left_s)
                self._unwritten.discard(session_id)
                written += 1
        except DependencyDown:
            return False
        self.degraded = False
        log.info("sessions_back_in_redis", sessions=written)
        return True

    async def _write(
        self, session_id: str, text: bytes, ttl_s: int, also: Sequence[tuple[Part, ...]] = ()
    ) -> None:
        command: tuple[Part, ...] = ("SET", KEY + session_id, text, "EX", ttl_s)
        if also:
            await self._redis.transaction(command, *also)
        else:
            await self._redis.command(*command)

    def _read(self, session_id: str, text: bytes) -> Session:
        try:
            return Session.loads(session_id, text)
        except ValueError as error:  # somebody else's key: start afresh rather than fail each turn
            log.warning("session_unreadable", code="bad_request", reason=str(error))
            return Session(session_id)

    def _lost(self, error: DependencyDown) -> None:
        self._retry_at_s = self._clock() + RETRY_EVERY_S
        if not self.degraded:
            self.degraded = True
            log.warning("sessions_in_memory", code=error.code, reason=str(error))

    def _remember(self, session: Session, text: bytes) -> None:
        kept = _Kept(self._clock() + self._ttl_s, text, session)
        self._memory[session.session_id] = kept
        self._memory.move_to_end(session.session_id)
        while len(self._memory) > KEPT_IN_MEMORY:
            oldest, _ = self._memory.popitem(last=False)
            self._unwritten.discard(oldest)

    def _remembered(self, session_id: str) -> Session:
        kept = self._memory.get(session_id)
        if kept is None or kept.until_s <= self._clock():
            return Session(session_id)
        return kept.session

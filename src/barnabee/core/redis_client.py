"""Minimal Redis client: one connection, pipelined commands, replies in order.

Every voice command calls Redis three times. Measured on 2 shared cores: redis-py takes 120-260 us
of CPU per call and arq's `enqueue_job` 450 us (four round trips); this client takes 20-45 us, and
concurrent calls share a packet. No pool, no subscriptions, no cluster. Commands must be
idempotent: one whose reply was lost may have been executed.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass, field
from typing import Any, cast
from urllib.parse import quote, unquote, urlsplit

import hiredis

from barnabee.core.errors import DependencyDown, SettingInvalid
from barnabee.core.settings import read_credential

CommandPart = str | bytes | int
# After a failed connection, calls fail immediately for this long.
RETRY_DELAY_S = 0.25


def password_name(user: str) -> str:
    """Return the name of the credential with a Redis user's password."""
    return f"redis_{user}_password"


def add_password(url: str, user: str) -> str:
    """Return `url` with `user` and its password; unchanged if there is none, or the URL has one."""
    password = read_credential(password_name(user))
    scheme, separator, rest = url.partition("://")
    if password is None or "@" in rest:
        return url
    return f"{scheme}{separator}{user}:{quote(password, safe='')}@{rest}"


@dataclass(frozen=True)
class RedisEndpoint:
    """Address of a Redis server and the commands that open a connection."""

    host: str
    port: int
    socket_path: str
    handshake: tuple[tuple[CommandPart, ...], ...]

    @classmethod
    def parse(cls, url: str) -> RedisEndpoint:
        """Parse redis://[user:password@]host:port/database or unix:///path?db=N.

        Raises SettingInvalid.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or 6379
            query = parts.query.removeprefix("db=")
            number = int(query or (parts.path.strip("/") if parts.scheme == "redis" else "") or 0)
        except ValueError as error:
            raise _make_invalid(str(error)) from error
        if parts.scheme not in {"redis", "unix"}:
            raise _make_invalid(f"its scheme is {parts.scheme!r}")
        secrets = [unquote(text) for text in (parts.username, parts.password) if text]
        handshake: list[tuple[CommandPart, ...]] = [("AUTH", *secrets)] if secrets else []
        if number:
            handshake.append(("SELECT", number))
        path = unquote(parts.path) if parts.scheme == "unix" else ""
        return cls(parts.hostname or "127.0.0.1", port, path, tuple(handshake))


class RedisClient:
    """Client of one Redis server; connects on first use and reconnects after a loss.

    `timeout_s` bounds the connection attempt and the wait for each reply.
    """

    def __init__(self, url: str, *, timeout_s: float = 1.0) -> None:
        self._address = RedisEndpoint.parse(url)
        self._timeout_s = timeout_s
        self._connection: _Connection | None = None
        self._lock = asyncio.Lock()
        self._retry_at_s = 0.0
        self._last_reason = ""

    async def command(self, *parts: CommandPart) -> Any:
        """Return the reply (bytes, int, list or None); DependencyDown if there is none."""
        connection = self._connection
        if connection is None or connection.close_reason:
            connection = await self._connect()
        return _check_reply(await connection.send(parts))

    async def transaction(self, *commands: tuple[CommandPart, ...]) -> list[Any]:
        """Run all `commands` or none (MULTI/EXEC), in one round trip; return their replies."""
        connection = self._connection
        if connection is None or connection.close_reason:
            connection = await self._connect()
        replies: list[Any] = _check_reply(await connection.send(("MULTI",), *commands, ("EXEC",)))
        return [_check_reply(reply) for reply in replies]

    async def ping(self) -> None:
        """Raise DependencyDown if Redis does not answer."""
        await self.command("PING")

    async def aclose(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            self._connection.close("closed")
            self._connection = None

    async def _connect(self) -> _Connection:
        async with self._lock:
            if self._connection is not None and not self._connection.close_reason:
                return self._connection
            loop = asyncio.get_running_loop()
            if loop.time() < self._retry_at_s:
                raise _make_error(self._last_reason)
            try:
                async with asyncio.timeout(self._timeout_s):
                    self._connection = await self._open()
            except (OSError, DependencyDown) as error:  # TimeoutError is an OSError
                self._retry_at_s = loop.time() + RETRY_DELAY_S
                self._last_reason = str(error) or "connecting took too long"
                raise _make_error(self._last_reason) from error
            return self._connection

    async def _open(self) -> _Connection:
        loop = asyncio.get_running_loop()
        address = self._address

        def connection() -> _Connection:
            return _Connection(self._timeout_s)

        if address.socket_path:
            _, opened = await loop.create_unix_connection(connection, address.socket_path)
        else:
            _, opened = await loop.create_connection(connection, address.host, address.port)
        try:
            for handshake in address.handshake:
                _check_reply(await opened.send(handshake))
        except BaseException:
            opened.close("login refused")
            raise
        return opened


@dataclass
class _Connection(asyncio.Protocol):
    """One connection: writes commands and assigns the replies to them, in order."""

    timeout_s: float
    close_reason: str = ""
    _pending: deque[asyncio.Future[Any] | None] = field(default_factory=deque)
    _reader: hiredis.Reader = field(default_factory=hiredis.Reader)
    _transport: asyncio.Transport = field(init=False)
    _timeout_handle: asyncio.TimerHandle | None = None
    _reply_count: int = 0
    _unsent: list[bytes] = field(default_factory=list)

    def send(self, *commands: tuple[CommandPart, ...]) -> asyncio.Future[Any]:
        """Write `commands`; the future is the reply to the last one."""
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        if self.close_reason:
            future.set_exception(_make_error(self.close_reason))
            return future
        self._pending.extend([None] * (len(commands) - 1))
        self._pending.append(future)
        if not self._unsent:  # one write for all commands of this iteration of the event loop
            loop.call_soon(self._flush)
        self._unsent.extend(hiredis.pack_command(command) for command in commands)  # type: ignore[arg-type]
        if self._timeout_handle is None:
            self._timeout_handle = loop.call_later(
                self.timeout_s, self._check_timeout, self._reply_count
            )
        return future

    def _flush(self) -> None:
        packets, self._unsent = self._unsent, []
        if not self.close_reason:
            self._transport.write(b"".join(packets))

    def close(self, reason: str) -> None:
        """Close; pending commands fail with `reason`."""
        self.close_reason = self.close_reason or reason
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is not a subclass of it

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        try:
            while (reply := self._reader.gets()) is not False:
                self._reply_count += 1
                future = self._pending.popleft()
                if future is not None and not future.done():
                    future.set_result(reply)
        except (hiredis.ProtocolError, IndexError):
            self.close("it does not speak Redis")

    def connection_lost(self, exc: Exception | None) -> None:
        self.close_reason = self.close_reason or (str(exc) if exc else "the connection was closed")
        if self._timeout_handle is not None:
            self._timeout_handle.cancel()
        for future in self._pending:
            if future is not None and not future.done():
                future.set_exception(_make_error(self.close_reason))
        self._pending.clear()

    def _check_timeout(self, replies_before: int) -> None:
        """Close the connection if no reply came for `timeout_s` while a command was pending."""
        self._timeout_handle = None
        if not self._pending:
            return
        if self._reply_count == replies_before:
            self.close(f"no reply for {self.timeout_s:g} s")
            return
        loop = asyncio.get_running_loop()
        self._timeout_handle = loop.call_later(
            self.timeout_s, self._check_timeout, self._reply_count
        )


def _check_reply(reply: Any) -> Any:
    if isinstance(reply, hiredis.ReplyError):
        raise _make_error(str(reply)) from reply
    return reply


def _make_error(reason: str) -> DependencyDown:
    return DependencyDown(dependency="redis", reason=reason, retry_after_s=1)


def _make_invalid(reason: str) -> SettingInvalid:
    return SettingInvalid(name="REDIS_URL", reason=reason, hint="write redis://host:port/0")

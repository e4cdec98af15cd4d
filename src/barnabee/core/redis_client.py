"""Redis client: redis-py with a time limit for each call and this project's errors.

A connection of the pool is checked before it is used, and closed when a call on it was cancelled.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import quote

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import RedisError

from barnabee.core.errors import DependencyDown, SettingInvalid
from barnabee.core.settings import read_credential, redis_password_name

T = TypeVar("T")


def add_password(url: str, user: str) -> str:
    """Return `url` with `user` and its password; unchanged if there is none, or the URL has one."""
    password = read_credential(redis_password_name(user))
    scheme, separator, rest = url.partition("://")
    if password is None or "@" in rest:
        return url
    return f"{scheme}{separator}{user}:{quote(password, safe='')}@{rest}"


class RedisClient(Redis):
    """Client of one Redis server; its commands raise DependencyDown.

    `timeout_s` bounds each call, connection included. Raises SettingInvalid for an invalid URL.
    """

    def __init__(self, url: str, *, timeout_s: float = 1.0) -> None:
        try:
            pool = BlockingConnectionPool.from_url(
                url,
                timeout=None,  # the call's own limit
                socket_connect_timeout=timeout_s,
                lib_name=None,  # no CLIENT SETINFO, for which no user has the permission
                lib_version=None,
            )
            pool.make_connection()  # type: ignore[no-untyped-call] # takes the URL's options
        except (TypeError, ValueError) as error:
            hint = "write redis://host:port/0"
            raise SettingInvalid(name="REDIS_URL", reason=str(error), hint=hint) from error
        super().__init__(connection_pool=pool)
        self.auto_close_connection_pool = True
        self.timeout_s = timeout_s

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        call: Coroutine[Any, Any, Any] = super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        return await _call(call, self.timeout_s)

    async def ping(self, **_options: Any) -> None:
        """Raise DependencyDown unless Redis answers."""
        await super().ping()

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> RedisPipeline:
        pipeline = RedisPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        pipeline.timeout_s = self.timeout_s
        return pipeline


class RedisPipeline(Pipeline):
    """Commands that are sent in one round trip, by default as one transaction."""

    timeout_s: float

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        return await _call(super().execute(raise_on_error), self.timeout_s)

    def annotate_exception(self, *_args: Any, **_kwargs: Any) -> None:
        """Add nothing: redis-py adds the command, and with it what a user said."""


async def _call(reply: Coroutine[Any, Any, T], timeout_s: float) -> T:
    try:
        async with asyncio.timeout(timeout_s):
            return await reply
    except (RedisError, OSError) as error:  # TimeoutError is an OSError, and has no text
        reason = str(error) or f"no reply for {timeout_s:g} s"
        raise DependencyDown(dependency="redis", reason=reason, retry_after_s=1) from error

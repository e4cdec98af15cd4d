"""Remembers which one-time links were used: in Redis until they are too old, in memory beside it.

Memory alone is enough for one process; Redis remembers across a restart.
"""

from __future__ import annotations

from collections import OrderedDict

from barnabee.core.auth import LINK_LIFETIME_S
from barnabee.core.errors import LinkInvalid, Unavailable
from barnabee.core.redis_client import RedisClient

KEY = "barnabee:login:"
KEPT = 1024


class Logins:
    """The links that were used."""

    def __init__(self, redis: RedisClient) -> None:
        """Know of none yet."""
        self._redis = redis
        self._seen: OrderedDict[str, None] = OrderedDict()

    async def use(self, nonce: str) -> None:
        """Count the link as used; LinkUsed when it was."""
        if nonce in self._seen:
            raise LinkInvalid
        self._seen[nonce] = None
        if len(self._seen) > KEPT:
            self._seen.popitem(last=False)
        try:
            first = await self._redis.command("SET", KEY + nonce, "1", "NX", "EX", LINK_LIFETIME_S)
        except Unavailable:
            return
        if first is None:
            raise LinkInvalid

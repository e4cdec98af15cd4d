"""How many commands one client may send: a token bucket each, and never more than so many buckets.

Pure but for the clock that is given.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable

from barnabee.core.errors import RateLimited

CLIENTS_KEPT = 1024


class Limiter:
    """The buckets, refilled steadily."""

    def __init__(self, per_minute: int, burst: int, clock: Callable[[], float]) -> None:
        """Allow `burst` at once and `per_minute` in the long run; the clock counts seconds."""
        self._per_minute = per_minute
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Count one command; RateLimited when this client has none left."""
        now_s = self._clock()
        left, then_s = self._buckets.pop(client, (self._burst, now_s))
        left = min(self._burst, left + (now_s - then_s) * self._per_second)
        allowed = left >= 1
        self._buckets[client] = (left - 1 if allowed else left, now_s)
        if len(self._buckets) > CLIENTS_KEPT:  # the one not seen for longest is full again anyway
            self._buckets.popitem(last=False)
        if not allowed:
            wait_s = max(1, math.ceil((1 - left) / self._per_second))
            raise RateLimited(limit=self._per_minute, retry_after_s=wait_s)

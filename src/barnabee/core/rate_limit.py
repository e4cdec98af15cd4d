"""Rates: one token bucket for each client, and the back-off before the next attempt."""

from __future__ import annotations

import math
import random
import time
from collections import OrderedDict
from collections.abc import Callable

from barnabee.core.errors import RateLimited
from barnabee.core.schema import LimitsConfig

MAX_CLIENTS = 1024
_MAX_DOUBLINGS = 30  # keeps 2.0**n finite; every limit in use is reached far earlier


class RateLimiter:
    """Token buckets by client; allows `burst` at once and `per_minute` in the long run.

    `clock` returns seconds and never goes back.
    """

    def __init__(
        self, per_minute: int, burst: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._per_minute = per_minute
        self._per_second = per_minute / 60
        self._burst = float(burst)
        self._clock = clock
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, client: str) -> None:
        """Count one request; RateLimited if the client's bucket is empty."""
        now_s = self._clock()
        tokens, then_s = self._buckets.pop(client, (self._burst, now_s))
        tokens = min(self._burst, tokens + (now_s - then_s) * self._per_second)
        is_allowed = tokens >= 1
        self._buckets[client] = (tokens - 1 if is_allowed else tokens, now_s)
        if len(self._buckets) > MAX_CLIENTS:  # the least recently used bucket is full again anyway
            self._buckets.popitem(last=False)
        if not is_allowed:
            wait_s = max(1, math.ceil((1 - tokens) / self._per_second))
            raise RateLimited(limit=self._per_minute, retry_after_s=wait_s)


def make_command_limiter(limits: LimitsConfig) -> RateLimiter:
    """Return the limiter of `POST /v1/command`."""
    return RateLimiter(limits.commands_per_minute, limits.command_burst, time.monotonic)


def make_login_limiter(limits: LimitsConfig) -> RateLimiter:
    """Return the limiter of logins by token, whose burst is one minute's quota."""
    return RateLimiter(limits.logins_per_minute, limits.logins_per_minute, time.monotonic)


def backoff_s(failures: int, first_s: float, max_s: float) -> float:
    """Return `first_s` after the first failure, doubled with each further one, at most `max_s`."""
    doublings = min(max(failures - 1, 0), _MAX_DOUBLINGS)
    return min(first_s * 2.0**doublings, max_s)


def jittered_backoff_s(failures: int, first_s: float, max_s: float) -> float:
    """Return a random time of 50 to 100 % of `backoff_s`, so that clients do not retry in step."""
    return backoff_s(failures, first_s, max_s) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

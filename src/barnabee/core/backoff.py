"""Exponential back-off: how long to wait before the next attempt. Pure."""

from __future__ import annotations

import random

_MAX_DOUBLINGS = 30  # keeps 2.0**n finite; every limit in use is reached far earlier


def backoff_s(failures: int, first_s: float, max_s: float) -> float:
    """Return `first_s` after the first failure, doubled with each further one, at most `max_s`."""
    doublings = min(max(failures - 1, 0), _MAX_DOUBLINGS)
    return min(first_s * 2.0**doublings, max_s)


def jittered_backoff_s(failures: int, first_s: float, max_s: float) -> float:
    """Return a random time of 50 to 100 % of `backoff_s`, so that clients do not retry in step."""
    return backoff_s(failures, first_s, max_s) * random.uniform(0.5, 1.0)  # noqa: S311 - no secret

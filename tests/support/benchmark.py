"""Limits and sizes of benchmarks.

A smoke run (`./barnabee bench --smoke`, part of CI) is small and enforces no limit: it shows that
each benchmark still runs.
"""

from __future__ import annotations

import os
from typing import TypeVar

Size = TypeVar("Size")

IS_SMOKE_RUN = bool(os.environ.get("BARNABEE_BENCH_SMOKE"))


def choose_size(full: Size, smoke: Size) -> Size:
    return smoke if IS_SMOKE_RUN else full


def is_at_most(value: float, limit: float) -> bool:
    """Return whether a measured value is within its limit; always true in a smoke run."""
    return value <= limit or IS_SMOKE_RUN


def is_at_least(value: float, limit: float) -> bool:
    return value >= limit or IS_SMOKE_RUN

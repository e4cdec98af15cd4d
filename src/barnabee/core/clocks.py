"""Clocks: the wall clock, which may be set, and the time since boot, which only advances."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

_BOOT_ID_FILE = Path("/proc/sys/kernel/random/boot_id")


def read_boot_id() -> str:
    """Return the id of this boot of the machine, the same in all its containers."""
    return _BOOT_ID_FILE.read_text(encoding="ascii").strip()


def _boot_time_ms() -> int:
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000


@dataclass(frozen=True)
class Clocks:
    """The clocks of this machine; the time since boot includes suspend and is in ms."""

    wall: Callable[[], datetime] = lambda: datetime.now(UTC)
    boot_time_ms: Callable[[], int] = _boot_time_ms
    boot_id: Callable[[], str] = read_boot_id

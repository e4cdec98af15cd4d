"""CPU limit for long backup work: at most a share of one core, child processes included.

The work calls `throttle` every few milliseconds, which sleeps as long as its CPU time so far asks
for.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress

# Steps of SQLite's virtual machine between two calls of `throttle`: about 5 ms of work.
SQLITE_STEPS = 50_000
MAX_SLEEP_S = 0.5  # so that a signal is handled soon
# Many short sleeps leave the caches cold each time: a drill of 1 GB took a sixth more CPU time.
MIN_SLEEP_S = 0.2
NICE = 19
_IOPRIO_IDLE = 3 << 13  # IOPRIO_CLASS_IDLE (ioprio_set(2))
_SYS_IOPRIO_SET = 251  # x86_64
_IOPRIO_WHO_PROCESS = 1


def cpu_time_s() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


class CpuLimit:
    """At most `percent` of one core on average since creation; 0 or 100 and more: no limit."""

    def __init__(
        self,
        percent: int = 100,
        *,
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = cpu_time_s,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._share = percent / 100
        self._clock, self._used, self._sleep = clock, used, sleep
        self._since_s, self._used_before_s = clock(), used()

    @property
    def used_s(self) -> float:
        """Return the CPU time since creation."""
        return self._used() - self._used_before_s

    def sleep_due_s(self) -> float:
        """Return how long to sleep until the average is within the limit; never negative."""
        if not 0 < self._share < 1:
            return 0.0
        elapsed_s = self._clock() - self._since_s
        return max(0.0, self.used_s / self._share - elapsed_s)

    def throttle(self) -> None:
        """Sleep when enough sleep is due, at most `MAX_SLEEP_S` at a time."""
        due_s = self.sleep_due_s()
        if due_s >= MIN_SLEEP_S:
            self._sleep(min(due_s, MAX_SLEEP_S))

    def throttle_connection(self, connection: sqlite3.Connection) -> None:
        """Throttle every statement that runs on `connection`."""

        def throttle() -> int:
            self.throttle()
            return 0  # continue the statement

        if 0 < self._share < 1:
            connection.set_progress_handler(throttle, SQLITE_STEPS)


def lower_priority() -> None:
    """Give this process and its children the lowest CPU and disk priority."""
    with suppress(OSError):
        os.nice(NICE)
    if os.uname().machine != "x86_64":
        return
    import ctypes  # noqa: PLC0415 - for this one call

    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(_SYS_IOPRIO_SET, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE)

"""Keeps long work from taking more of a core than it may, children included.

Work calls `pause` every few milliseconds; it sleeps as long as the time used so far asks for.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress

# Steps of SQLite's virtual machine between two looks: about 5 ms of work.
STEPS = 50_000
LONGEST_SLEEP_S = 0.5
# Many short pauses leave the caches cold each time: a gigabyte's drill took a sixth more that way.
SHORTEST_SLEEP_S = 0.2
NICE = 19
_IOPRIO_IDLE = 3 << 13  # IOPRIO_CLASS_IDLE (ioprio_set(2))
_SYS_IOPRIO_SET = 251  # x86_64
_IOPRIO_WHO_PROCESS = 1


def cpu_s() -> float:
    """Return the processor time of this process and of its children that have ended."""
    found = os.times()
    return found.user + found.system + found.children_user + found.children_system


class Pace:
    """At most `percent` of one core on average, from now on; 0 or 100 and more = as fast as can be.

    `may_take_s` bounds the whole: when it would be exceeded, nobody sleeps any more.
    """

    def __init__(
        self,
        percent: int = 100,
        *,
        may_take_s: float = float("inf"),
        clock: Callable[[], float] = time.monotonic,
        used: Callable[[], float] = cpu_s,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Start counting."""
        self._share = percent / 100
        self._may_take_s = may_take_s
        self._clock, self._used, self._sleep = clock, used, sleep
        self._since_s, self._used_before_s = clock(), used()

    @property
    def used_s(self) -> float:
        """Return the processor time since the start."""
        return self._used() - self._used_before_s

    def behind_s(self) -> float:
        """Return how long to sleep so that the share is kept. Never negative."""
        if not 0 < self._share < 1:
            return 0.0
        gone_s = self._clock() - self._since_s
        left_s = self._may_take_s - gone_s
        return max(0.0, min(self.used_s / self._share - gone_s, left_s))

    def pause(self) -> None:
        """Sleep if enough more was used than may be; in pieces, so that a signal is heard."""
        owed_s = self.behind_s()
        if owed_s >= SHORTEST_SLEEP_S:
            self._sleep(min(owed_s, LONGEST_SLEEP_S))

    def hold(self, connection: sqlite3.Connection) -> None:
        """Make every statement on `connection` keep the pace."""

        def look() -> int:
            self.pause()
            return 0

        if 0 < self._share < 1:
            connection.set_progress_handler(look, STEPS)


def step_back() -> None:
    """Let everybody else go first, for processor and disk; children inherit it."""
    with suppress(OSError):
        os.nice(NICE)
    if os.uname().machine != "x86_64":
        return
    import ctypes  # noqa: PLC0415 - for this one call

    libc = ctypes.CDLL(None, use_errno=True)
    libc.syscall(_SYS_IOPRIO_SET, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_IDLE)

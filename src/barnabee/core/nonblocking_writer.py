"""Writes log lines to standard output without ever waiting for whoever reads it.

A pipe or socket whose reader has stopped would hold the event loop, and with it every voice in the
house, in a write. So each line is written at once when that cannot block; otherwise a thread writes
it, in order; of more lines than it may keep, the newest are dropped and counted. Knows no format.
"""

from __future__ import annotations

import atexit
import io
import os
import select
import stat
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import TextIO

_FAREWELL_S = 1.0
_LOOK_EVERY_S = 0.01


class Outlet:
    """One descriptor and who writes to it; `notice` makes a line of how many were dropped."""

    def __init__(self, stream: TextIO, most_lines: int, notice: Callable[[int], str]) -> None:
        """Write where `stream` does; one without a descriptor is written to directly."""
        self.dropped = 0
        self._stream = stream
        self._most_lines = most_lines
        self._notice = notice
        self._waiting: deque[bytes] = deque()
        self._told = 0
        self._lock = threading.Lock()
        self._some = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._descriptor = _descriptor(stream)
        if self._descriptor is not None:
            # A pipe with room takes PIPE_BUF bytes at once (pipe(7)); more could wait for a reader.
            is_pipe = stat.S_ISFIFO(os.fstat(self._descriptor).st_mode)
            self._at_once_bytes = select.PIPE_BUF if is_pipe else 1 << 30
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    def write(self, line: str) -> None:
        """Write a line, or have it written; never raises, never waits."""
        if self._descriptor is None:
            self._stream.write(line + "\n")
            return
        data = line.encode("utf-8", "replace") + b"\n"
        with self._lock:
            if not self._waiting and len(data) <= self._at_once_bytes and self._has_room():
                self._put(data)
            elif len(self._waiting) < self._most_lines:
                self._waiting.append(data)
                self._wake()
            else:
                self.dropped += 1

    # What structlog calls its loggers by.
    msg = debug = info = warning = warn = error = critical = exception = fatal = failure = log = (
        write
    )

    def flush(self, limit_s: float = _FAREWELL_S) -> None:
        """Wait until everything is written, or for `limit_s`."""
        until_s = time.monotonic() + limit_s
        while self._waiting and time.monotonic() < until_s:
            time.sleep(_LOOK_EVERY_S)

    def _has_room(self) -> bool:
        return bool(self._poll.poll(0))

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor or 0, view) :]
        except OSError:  # the reader is gone, or the disk is full: nobody is left to be told
            self.dropped += 1

    def _wake(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
            self._thread.start()
            atexit.register(self.flush)
        self._some.notify()

    def _drain(self) -> None:
        while True:
            with self._lock:
                while not self._waiting:
                    self._some.wait()
                data = self._waiting[0]
            self._put(data)  # waits for the reader: not under the lock
            with self._lock:
                self._waiting.popleft()
                if not self._waiting and self.dropped > self._told:
                    lost, self._told = self.dropped - self._told, self.dropped
                    self._waiting.append(self._notice(lost).encode() + b"\n")


def _descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, AttributeError, io.UnsupportedOperation):
        return None

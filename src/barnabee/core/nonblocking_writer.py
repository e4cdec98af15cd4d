"""Non-blocking writer of log lines to standard output.

A pipe or socket whose reader has stopped would block the event loop in `write`. A line is written
directly if that cannot block; otherwise a thread writes it, in order. When the buffer is full, the
newest lines are dropped and counted.
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

_FLUSH_LIMIT_S = 1.0
_POLL_INTERVAL_S = 0.01


class NonblockingWriter:
    """Writes lines to a stream's descriptor; usable as a structlog logger, from any thread.

    `make_notice` makes the line that reports a number of dropped lines. A stream without a
    descriptor is written to directly.
    """

    def __init__(self, stream: TextIO, max_lines: int, make_notice: Callable[[int], str]) -> None:
        self.dropped = 0
        self._stream = stream
        self._max_lines = max_lines
        self._make_notice = make_notice
        self._buffer: deque[bytes] = deque()
        self._reported = 0
        self._lock = threading.Lock()
        self._not_empty = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._descriptor = _get_descriptor(stream)
        if self._descriptor is not None:
            # A writable pipe takes PIPE_BUF bytes without blocking (pipe(7)), but maybe not more.
            is_pipe = stat.S_ISFIFO(os.fstat(self._descriptor).st_mode)
            self._direct_max_bytes = select.PIPE_BUF if is_pipe else 1 << 30
            self._poll = select.poll()
            self._poll.register(self._descriptor, select.POLLOUT)

    def write(self, line: str) -> None:
        """Write or buffer a line; never raises and never blocks."""
        if self._descriptor is None:
            self._stream.write(line + "\n")
            return
        data = line.encode("utf-8", "replace") + b"\n"
        with self._lock:
            if not self._buffer and len(data) <= self._direct_max_bytes and self._is_writable():
                self._write_blocking(data)
            elif len(self._buffer) < self._max_lines:
                self._buffer.append(data)
                self._wake_thread()
            else:
                self.dropped += 1

    # structlog calls the method that is named after the level.
    msg = debug = info = warning = warn = error = critical = exception = fatal = failure = log = (
        write
    )

    def flush(self, limit_s: float = _FLUSH_LIMIT_S) -> None:
        """Wait until the buffer is empty, at most `limit_s`."""
        until_s = time.monotonic() + limit_s
        while self._buffer and time.monotonic() < until_s:
            time.sleep(_POLL_INTERVAL_S)

    def _is_writable(self) -> bool:
        return bool(self._poll.poll(0))

    def _write_blocking(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor or 0, view) :]
        except OSError:  # the reader has closed the pipe, or the disk is full
            self.dropped += 1

    def _wake_thread(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._drain, name="log", daemon=True)
            self._thread.start()
            atexit.register(self.flush)
        self._not_empty.notify()

    def _drain(self) -> None:
        while True:
            with self._lock:
                while not self._buffer:
                    self._not_empty.wait()
                data = self._buffer[0]
            self._write_blocking(data)  # without the lock: may wait for the reader
            with self._lock:
                self._buffer.popleft()
                if not self._buffer and self.dropped > self._reported:
                    new, self._reported = self.dropped - self._reported, self.dropped
                    self._buffer.append(self._make_notice(new).encode() + b"\n")


def _get_descriptor(stream: TextIO) -> int | None:
    try:
        return stream.fileno()
    except (OSError, AttributeError, io.UnsupportedOperation):
        return None

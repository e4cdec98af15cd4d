"""Structured logs: one JSON object per line on standard output, from our code and from libraries.

Every line has component, level, event, timestamp, trace_id, session_id, user_id, stage and
latency_ms (null where it does not apply), so that queries need no existence checks. Utterances are
private: log them only with `make_utterance_fields`.

Writing never blocks the event loop: a pipe or socket whose reader has stopped would, so a line is
written directly if that cannot block, otherwise by a thread, in order. When the buffer is full, the
newest lines are dropped and counted.
"""

from __future__ import annotations

import atexit
import hashlib
import io
import json
import logging
import os
import re
import select
import stat
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, TextIO

import structlog
from pydantic_core import to_json

from barnabee.core import tracing

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

_FLUSH_LIMIT_S = 1.0
_POLL_INTERVAL_S = 0.01
# C0 except newline and tab, DEL, C1, marks and overrides of the writing direction, lone surrogates
_CONTROLS = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_COMMON_FIELDS = ("session_id", "user_id", "stage", "latency_ms")


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


class _Output:
    """The writer of this process, for its count of dropped lines."""

    writer: NonblockingWriter | None = None


def count_dropped_lines() -> int:
    """Return how many lines were dropped because the buffer was full."""
    return _Output.writer.dropped if _Output.writer else 0


def escape_controls(text: str) -> str:
    r"""Return `text` for a terminal: control characters as `\u001b`, as in JSON strings. Pure."""
    return _CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def configure_logging(
    component: str, *, level: str = "info", buffer_max_lines: int = 10_000
) -> None:
    """Send every log line of this process to standard output as JSON with `component`.

    While nothing reads the output, up to `buffer_max_lines` are buffered.
    """

    def make_notice(lines: int) -> str:
        event: EventDict = {"event": "log_lines_dropped", "level": "warning", "dropped": lines}
        event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return to_json_line(add_context(None, "warning", event))

    def add_context(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("component", component)
        event.setdefault("trace_id", tracing.get_trace_id() or None)
        for name in _COMMON_FIELDS:
            event.setdefault(name, None)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        add_context,
        structlog.processors.format_exc_info,
    ]
    number = logging.getLevelNamesMapping()[level.upper()]
    writer = _Output.writer = NonblockingWriter(sys.stdout, buffer_max_lines, make_notice)
    structlog.configure(
        processors=[
            *shared,
            tracing.record_log_event,
            structlog.processors.JSONRenderer(serializer=to_json_line),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: writer,
        cache_logger_on_first_use=True,
    )
    _capture_libraries(shared, number, writer)


def make_utterance_fields(utterance: str, *, allowed: bool) -> dict[str, object]:
    """Return the log fields of an utterance: its text if `allowed`, else length and short hash."""
    if allowed:
        return {"utterance": utterance}
    digest = hashlib.sha256(utterance.encode("utf-8", "surrogatepass")).hexdigest()
    return {"utterance_chars": len(utterance), "utterance_sha256": digest[:12]}


class _Handler(logging.Handler):
    """Writes the log records of libraries to the same writer."""

    def __init__(self, writer: NonblockingWriter) -> None:
        super().__init__()
        self._writer = writer

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._writer.write(self.format(record))
        except (ValueError, TypeError, KeyError):  # the arguments do not fit the format string
            self.handleError(record)


def _capture_libraries(shared: list[Processor], number: int, writer: NonblockingWriter) -> None:
    handler = _Handler(writer)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _without_colours],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=to_json_line),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    logging.getLogger("uvicorn.error").addFilter(_drop_false_alarm)
    for verbose in ("httpx", "httpcore", "websockets", "uvicorn.access", "faster_whisper"):
        logging.getLogger(verbose).setLevel(max(number, logging.WARNING))


def _drop_false_alarm(record: logging.LogRecord) -> bool:
    # uvicorn 0.54 logs this for every WebSocket that is refused with an HTTP status
    return record.msg != "ASGI callable returned without completing handshake."


def _without_colours(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn repeats its message for terminals
    return event


def to_json_line(event: Mapping[str, object], **_options: object) -> str:
    """Return an event as one line of JSON; values that are not JSON become strings."""
    try:
        return to_json(event, fallback=str).decode()  # a third of the time of json.dumps
    except ValueError:  # a lone surrogate
        return json.dumps(event, default=str)

"""Structured logs: one JSON object per line on standard output, from our code and from libraries.

Every line has component, level, event, timestamp, trace_id, session_id, user_id, stage and
latency_ms (null where it does not apply), so that queries need no existence checks. Utterances are
private: log them only with `make_utterance_fields`.
"""

from __future__ import annotations

import hashlib
import json
import logging
import re
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from pydantic_core import to_json

from barnabee.core import tracing
from barnabee.core.nonblocking_writer import NonblockingWriter

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

# C0 except newline and tab, DEL, C1, marks and overrides of the writing direction, lone surrogates
_CONTROLS = re.compile(
    "[\0-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_COMMON_FIELDS = ("session_id", "user_id", "stage", "latency_ms")


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
    component: str,
    *,
    level: str = "info",
    buffer_max_lines: int = 10_000,
    extra_processor: Processor | None = None,
) -> None:
    """Send every log line of this process to standard output as JSON with `component`.

    While nothing reads the output, up to `buffer_max_lines` are buffered. `extra_processor` is the
    last structlog processor before rendering; it does not see the lines of libraries.
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
            *([extra_processor] if extra_processor else []),
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

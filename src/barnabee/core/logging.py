"""Structured logs: one JSON object a line on standard output, from our code and from libraries.

Every line carries component, level, event, timestamp, trace_id, session_id, user_id, stage and
latency_ms (null where it does not apply), so that a query never has to ask whether a field exists.
Utterances are private: `utterance_fields` says what may be written about one.
"""

from __future__ import annotations

import hashlib
import json
import logging
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from pydantic_core import to_json

from barnabee.core import trace_context
from barnabee.core.nonblocking_writer import Outlet

if TYPE_CHECKING:
    from structlog.typing import EventDict, Processor, WrappedLogger

_ALWAYS = ("session_id", "user_id", "stage", "latency_ms")


class _Lost:
    """How many lines this process could not write; the metrics tell."""

    outlet: Outlet | None = None


def dropped_lines() -> int:
    """Return how many lines were dropped because nobody read them in time."""
    return _Lost.outlet.dropped if _Lost.outlet else 0


def configure(
    component: str,
    *,
    level: str = "info",
    unwritten_max_lines: int = 10_000,
    watcher: Processor | None = None,
) -> None:
    """Send every log line of this process to standard output as JSON with `component`.

    Of lines that nobody reads, `unwritten_max_lines` are kept until somebody does. `watcher` sees
    each of our lines before it is written.
    """

    def notice(lines: int) -> str:
        event: EventDict = {"event": "log_lines_dropped", "level": "warning", "dropped": lines}
        event["timestamp"] = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return dump(add_context(None, "warning", event))

    def add_context(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("component", component)
        event.setdefault("trace_id", trace_context.current() or None)
        for name in _ALWAYS:
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
    outlet = _Lost.outlet = Outlet(sys.stdout, unwritten_max_lines, notice)
    structlog.configure(
        processors=[
            *shared,
            *([watcher] if watcher else []),
            structlog.processors.JSONRenderer(serializer=dump),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: outlet,
        cache_logger_on_first_use=True,
    )
    _capture_libraries(shared, number, outlet)


def utterance_fields(utterance: str, *, allowed: bool) -> dict[str, object]:
    """Return what a log line may say of an utterance: all of it, or its length and a short hash."""
    if allowed:
        return {"utterance": utterance}
    digest = hashlib.sha256(utterance.encode("utf-8", "surrogatepass")).hexdigest()
    return {"utterance_chars": len(utterance), "utterance_sha256": digest[:12]}


class _Handler(logging.Handler):
    """The lines of libraries, by the same way out."""

    def __init__(self, outlet: Outlet) -> None:
        super().__init__()
        self._outlet = outlet

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._outlet.write(self.format(record))
        except (ValueError, TypeError, KeyError):  # a library's own arguments do not fit
            self.handleError(record)


def _capture_libraries(shared: list[Processor], number: int, outlet: Outlet) -> None:
    handler = _Handler(outlet)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[*shared, structlog.stdlib.ExtraAdder(), _without_colours],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.JSONRenderer(serializer=dump),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(number)
    logging.getLogger("uvicorn.error").addFilter(_no_false_alarm)
    for chatty in ("httpx", "httpcore", "websockets", "uvicorn.access", "faster_whisper"):
        logging.getLogger(chatty).setLevel(max(number, logging.WARNING))


def _no_false_alarm(record: logging.LogRecord) -> bool:
    # uvicorn 0.54 says this of every WebSocket that is refused with a status and a reason
    return record.msg != "ASGI callable returned without completing handshake."


def _without_colours(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    event.pop("color_message", None)  # uvicorn repeats its message for terminals
    return event


def dump(event: Mapping[str, object], **_options: object) -> str:
    """Return a record as one line of JSON, whatever is in it."""
    try:
        return to_json(event, fallback=str).decode()  # a third of the time of json.dumps
    except ValueError:  # half a surrogate pair: a line is never lost for what it says
        return json.dumps(event, default=str)

"""Trace ids of requests (W3C Trace Context, header `traceparent`), and our own spans.

The id is a context variable of the current task. OpenTelemetry is imported only while spans are
exported (`core.spans`, docs/reference/logs.md).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from opentelemetry.trace import Span, Tracer
    from structlog.typing import EventDict, WrappedLogger

HEADER = "traceparent"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
# Fields that become span attributes; none of them holds what a person said.
_ATTRIBUTES = ("stage", "engine", "code", "intent", "room", "outcome")

tracer: Tracer | None = None  # while spans are exported
trace_id_var: ContextVar[str] = ContextVar("trace_id", default="")


def new_trace_id() -> str:
    return secrets.token_hex(16)


def is_trace_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def parse_trace_id(header: str | None) -> str | None:
    """Return the trace id of a `traceparent` value, or None if it is invalid."""
    match = _TRACEPARENT.fullmatch((header or "").strip())
    return match[1] if match and match[1] != "0" * 32 else None


def adopt_trace_id(header: str | None) -> str:
    """Set the caller's trace id, or a new one, for the rest of this task; return it."""
    trace_id = parse_trace_id(header) or new_trace_id()
    trace_id_var.set(trace_id)
    return trace_id


def get_trace_id() -> str:
    """Return this task's trace id, or an empty string outside a request."""
    return trace_id_var.get()


def make_headers() -> dict[str, str]:
    """Return the headers that pass the trace id on to another service."""
    headers = {HEADER: f"00-{get_trace_id() or new_trace_id()}-{secrets.token_hex(8)}-01"}
    if tracer is not None:
        from opentelemetry.propagate import inject  # noqa: PLC0415 - see the docstring

        inject(headers)  # the current span, if there is one
    return headers


def start_root_span(name: str) -> Span | None:
    """Start the first span of this task's trace and make it the current one of this context."""
    if tracer is None:
        return None
    from opentelemetry import context, trace  # noqa: PLC0415 - see the docstring

    span = tracer.start_span(name, context.Context())
    context.attach(trace.set_span_in_context(span))
    return span


def pick_attributes(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a log event that become attributes of a span."""
    return {f"barnabee.{key}": fields[key] for key in _ATTRIBUTES if fields.get(key)}


def describe_span(span: Span, fields: Mapping[str, Any]) -> None:
    """Set the fields that may be attributes; a `code` marks the span as failed."""
    span.set_attributes(pick_attributes(fields))
    if fields.get("code"):
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - see the docstring

        span.set_status(StatusCode.ERROR)


def record_span(
    name: str, begin_ns: int, duration_ms: float, attributes: Mapping[str, Any]
) -> None:
    """Export a span that has ended, a child of the current one."""
    if tracer is not None and get_trace_id():
        span = tracer.start_span(name, start_time=begin_ns, attributes=attributes)
        span.end(begin_ns + int(duration_ms * 1_000_000))


def record_log_event(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """Record spans of an inference and of a request's stages; a structlog processor."""
    if tracer is None:
        return event
    name, latency_ms = event.get("event"), event.get("latency_ms") or 0
    begin_ns = time.time_ns() - int(latency_ms * 1_000_000)
    if name == "inference":
        record_span(event["stage"], begin_ns, latency_ms, pick_attributes(event))
    elif name == "request":
        for stage, duration_ms in event.get("stages_ms", {}).items():
            if stage != "total" and not stage.endswith("_first_token"):
                record_span(stage, begin_ns, duration_ms, {"barnabee.stage": stage})
                begin_ns += int(duration_ms * 1_000_000)
    return event

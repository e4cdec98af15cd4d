"""Trace ids of requests (W3C Trace Context, header `traceparent`), and their OpenTelemetry spans.

The ids are context variables of the current task. Spans are made from log events that have a
duration (requests, inferences, jobs), and exported by OTLP over HTTP. Without an endpoint the SDK
is not imported, and a request pays for reading one variable (docs/reference/logs.md).
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from structlog.typing import EventDict, WrappedLogger


HEADER = "traceparent"
_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}")
_ZEROS = "0" * 32

trace_id_var: ContextVar[str] = ContextVar("trace_id", default="")
# Span of the current request; empty unless spans are exported.
span_id_var: ContextVar[str] = ContextVar("span_id", default="")


def new_trace_id() -> str:
    return secrets.token_hex(16)


def is_trace_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{32}", text) is not None


def parse_trace_id(header: str | None) -> str | None:
    """Return the trace id of a `traceparent` value, or None if it is invalid."""
    match = _TRACEPARENT.fullmatch((header or "").strip())
    return match[1] if match and match[1] != _ZEROS else None


def parse_parent_id(header: str | None) -> str | None:
    """Return the caller's span id of a `traceparent` value, or None if it is invalid."""
    match = _TRACEPARENT.fullmatch((header or "").strip())
    return match[2] if match and match[2] != _ZEROS[:16] else None


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
    trace_id = get_trace_id() or new_trace_id()
    span_id = span_id_var.get() or secrets.token_hex(8)
    return {HEADER: f"00-{trace_id}-{span_id}-01"}


_EVENTS = frozenset({"request", "inference", "job_done"})
_ROOT_EVENT = "request"  # the span of the request itself; the others are its children
# Fields that become span attributes; none of them holds what a person said.
_ATTRIBUTES = ("route", "method", "status", "stage", "engine", "job", "code", "intent", "room")
_TOTALS = frozenset({"total"})
_PATH = "/v1/traces"

parent_id_var: ContextVar[str] = ContextVar("parent_id", default="")


class SpanSink(Protocol):
    """Receiver of finished spans."""

    def on_end(self, span: ReadableSpan) -> None:
        """Accept a span without blocking."""

    def shutdown(self) -> None:
        """Send what is buffered."""


class SpanRecorder:
    """Records the spans of one process; `sink` is None while export is off."""

    def __init__(self) -> None:
        self.sink: SpanSink | None = None
        self._resource: Any = None

    def configure(
        self, component: str, endpoint: str, *, exporter: SpanExporter | None = None
    ) -> None:
        """Export to `endpoint` (OTEL_EXPORTER_OTLP_ENDPOINT); empty turns export off."""
        if not endpoint and exporter is None:
            self.sink = None
            return
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see the docstring
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        self._resource = Resource({"service.name": f"barnabee-{component}"})
        self.sink = BatchSpanProcessor(exporter or _make_exporter(endpoint))

    def start_request(self, header: str | None) -> None:
        """Begin the root span of this task as a child of the caller's span."""
        parent_id_var.set(parse_parent_id(header) or "")
        span_id_var.set(secrets.token_hex(8))

    def record_log_event(self, _logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        """Record a span for a log event that has a duration; a structlog processor."""
        latency_ms = event.get("latency_ms")
        if event.get("event") not in _EVENTS or not isinstance(latency_ms, int | float):
            return event
        attributes = {key: event[key] for key in _ATTRIBUTES if event.get(key) is not None}
        is_root = event["event"] == _ROOT_EVENT
        name = str(event.get("route") or event.get("job") or event.get("stage") or event["event"])
        begin_ns = time.time_ns() - int(latency_ms * 1_000_000)
        self.record_span(name, begin_ns, latency_ms, attributes, is_root=is_root)
        if is_root and isinstance(event.get("stages_ms"), dict):
            self.record_stages(begin_ns, event["stages_ms"])
        return event

    def record_stages(self, begin_ns: int, stages_ms: Mapping[str, float]) -> None:
        """Record consecutive stages; totals and times to the first token are no stages."""
        for name, duration_ms in stages_ms.items():
            if name in _TOTALS or name.endswith("_first_token"):
                continue
            self.record_span(name, begin_ns, duration_ms, {"stage": name})
            begin_ns += int(duration_ms * 1_000_000)

    def record_span(
        self,
        name: str,
        begin_ns: int,
        duration_ms: float,
        attributes: Mapping[str, Any],
        *,
        is_root: bool = False,
    ) -> None:
        """Export one span: the root span of this task, or a child of it."""
        trace_id = get_trace_id()
        if self.sink is None or not trace_id:
            return
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415 - see the docstring
        from opentelemetry.trace import SpanKind  # noqa: PLC0415
        from opentelemetry.trace.status import Status, StatusCode  # noqa: PLC0415

        root_id, code = span_id_var.get(), attributes.get("code")
        span_id, parent_id = (
            (root_id, parent_id_var.get()) if is_root else (secrets.token_hex(8), root_id)
        )
        span = ReadableSpan(
            name=name,
            context=_context(trace_id, span_id or secrets.token_hex(8)),
            parent=_context(trace_id, parent_id) if parent_id else None,
            resource=self._resource,
            attributes={f"barnabee.{key}": value for key, value in attributes.items()},
            kind=SpanKind.SERVER if is_root else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, str(code)) if code else Status(),
            start_time=begin_ns,
            end_time=begin_ns + int(duration_ms * 1_000_000),
        )
        self.sink.on_end(span)

    def close(self) -> None:
        """Send what is buffered and turn export off."""
        if self.sink is not None:
            self.sink.shutdown()
            self.sink = None


SPAN_RECORDER = SpanRecorder()


def _make_exporter(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    return OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _PATH)


def _context(trace_id: str, span_id: str) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415

    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags)

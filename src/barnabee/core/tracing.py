"""OpenTelemetry spans with the trace ids of our log lines, by OTLP over HTTP; off by default.

A span is a log line that has a duration: what the log says of a request, an inference or a job is
what the trace shows, and there is no second place where it is measured. Without an endpoint nothing
of this is imported, and a request pays one look at a variable (docs/reference/logs.md).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Protocol

from barnabee.core import trace_context

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from structlog.typing import EventDict, WrappedLogger

_LINES = frozenset({"request", "inference", "job_done"})
_OWN = "request"  # the line of what this process was asked for; the others are parts of it
# Parts of a line that say how, and never what anybody said.
_TOLD = ("route", "method", "status", "stage", "engine", "job", "code", "intent", "room")
_SUMS = frozenset({"total"})
_PATH = "/v1/traces"

parent_id_var: ContextVar[str] = ContextVar("parent_id", default="")


class Sink(Protocol):
    """Where finished spans go."""

    def on_end(self, span: ReadableSpan) -> None:
        """Take a span; returns at once."""

    def shutdown(self) -> None:
        """Send what is left."""


class Spans:
    """The spans of one process; `sink` is None while nobody wants them."""

    def __init__(self) -> None:
        """Begin with none."""
        self.sink: Sink | None = None
        self._resource: Any = None

    def configure(
        self, component: str, endpoint: str, *, exporter: SpanExporter | None = None
    ) -> None:
        """Export to `endpoint` (OTEL_EXPORTER_OTLP_ENDPOINT), or to nobody when it is empty."""
        if not endpoint and exporter is None:
            self.sink = None
            return
        from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - see the docstring
        from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415

        self._resource = Resource({"service.name": f"barnabee-{component}"})
        self.sink = BatchSpanProcessor(exporter or _exporter(endpoint))

    def enter(self, header: str | None) -> None:
        """Begin this task's own span, beneath the caller's."""
        parent_id_var.set(trace_context.parent(header) or "")
        trace_context.span_id_var.set(secrets.token_hex(8))

    def of_line(self, _logger: WrappedLogger, _method: str, line: EventDict) -> EventDict:
        """Make a span of a log line that has a duration: a processor of structlog."""
        took_ms = line.get("latency_ms")
        if line.get("event") not in _LINES or not isinstance(took_ms, int | float):
            return line
        told = {key: line[key] for key in _TOLD if line.get(key) is not None}
        own = line["event"] == _OWN
        name = str(line.get("route") or line.get("job") or line.get("stage") or line["event"])
        begin_ns = time.time_ns() - int(took_ms * 1_000_000)
        self.record(name, begin_ns, took_ms, told, own=own)
        if own and isinstance(line.get("stages_ms"), dict):
            self.stages(begin_ns, line["stages_ms"])
        return line

    def stages(self, begin_ns: int, stages_ms: Mapping[str, float]) -> None:
        """Record parts that followed one another; a first token lies within the part it is of."""
        for name, took_ms in stages_ms.items():
            if name in _SUMS or name.endswith("_first_token"):
                continue
            self.record(name, begin_ns, took_ms, {"stage": name})
            begin_ns += int(took_ms * 1_000_000)

    def record(
        self,
        name: str,
        begin_ns: int,
        took_ms: float,
        told: Mapping[str, Any],
        *,
        own: bool = False,
    ) -> None:
        """Export one span: this task's own, or a part of it."""
        trace_id = trace_context.current()
        if self.sink is None or not trace_id:
            return
        from opentelemetry.sdk.trace import ReadableSpan  # noqa: PLC0415 - see the docstring
        from opentelemetry.trace import SpanKind  # noqa: PLC0415
        from opentelemetry.trace.status import Status, StatusCode  # noqa: PLC0415

        span_id = trace_context.span_id_var.get()
        mine, above = (span_id, parent_id_var.get()) if own else (secrets.token_hex(8), span_id)
        span = ReadableSpan(
            name=name,
            context=_context(trace_id, mine or secrets.token_hex(8)),
            parent=_context(trace_id, above) if above else None,
            resource=self._resource,
            attributes={f"barnabee.{key}": value for key, value in told.items()},
            kind=SpanKind.SERVER if own else SpanKind.INTERNAL,
            status=Status(StatusCode.ERROR, str(told["code"])) if told.get("code") else Status(),
            start_time=begin_ns,
            end_time=begin_ns + int(took_ms * 1_000_000),
        )
        self.sink.on_end(span)

    def close(self) -> None:
        """Send what is left."""
        if self.sink is not None:
            self.sink.shutdown()
            self.sink = None


SPANS = Spans()


def _exporter(endpoint: str) -> SpanExporter:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # noqa: PLC0415
        OTLPSpanExporter,
    )

    return OTLPSpanExporter(endpoint=endpoint.rstrip("/") + _PATH)


def _context(trace_id: str, span_id: str) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags  # noqa: PLC0415

    flags = TraceFlags(TraceFlags.SAMPLED)
    return SpanContext(int(trace_id, 16), int(span_id, 16), is_remote=False, trace_flags=flags)

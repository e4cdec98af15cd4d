"""Export of OpenTelemetry spans by OTLP over HTTP; imported only where an endpoint is configured.

OpenTelemetry's instrumentation makes the spans of ASGI, httpx and redis. A span leaves the process
with its name, ids, times, status code and the attributes of `_ATTRIBUTES`: no URL, query, Redis
key, address of a client or text of an exception.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.instrumentation.redis import RedisInstrumentor
from opentelemetry.propagate import set_global_textmap
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import Span, SpanKind, Status
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from barnabee.core import tracing
from barnabee.core.http import UNLOGGED_PATHS

if TYPE_CHECKING:
    from opentelemetry.instrumentation.httpx import RequestInfo
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

EXPORT_TIMEOUT_S = 5.0
CLOSE_TIMEOUT_S = 2.0
CLOSING_THREAD = "spans-shutdown"
_ATTRIBUTES = {"http.method", "http.route", "http.status_code", "server.address", "db.system"}


@contextmanager
def export_spans(component: str, endpoint: str) -> Iterator[Callable[[ASGIApp], ASGIApp]]:
    """Export to `endpoint` (OTEL_EXPORTER_OTLP_ENDPOINT) in the block; yields a wrapper of apps."""
    provider = TracerProvider(
        resource=Resource({"service.name": f"barnabee-{component}"}),
        id_generator=_IdGenerator(),
        shutdown_on_exit=False,
    )
    exporter = _Exporter(endpoint.rstrip("/") + "/v1/traces", timeout=EXPORT_TIMEOUT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    set_global_textmap(TraceContextTextMapPropagator())  # no baggage
    instrumentors = HTTPXClientInstrumentor(), RedisInstrumentor()
    for instrumentor in instrumentors:
        instrumentor.instrument(tracer_provider=provider, async_request_hook=_set_server)
    tracing.tracer = provider.get_tracer("barnabee")
    try:
        yield _instrument_app
    finally:
        tracing.tracer = None
        for instrumentor in instrumentors:
            instrumentor.uninstrument()
        # Sends what is buffered; an unreachable collector does not hold up the shutdown.
        closing = threading.Thread(target=provider.shutdown, name=CLOSING_THREAD, daemon=True)
        closing.start()
        closing.join(CLOSE_TIMEOUT_S)


def _instrument_app(app: ASGIApp) -> ASGIApp:
    async def describe(scope: Scope, receive: Receive, send: Send) -> None:
        """Adopt the span's trace id, and describe the span, whose route is known at the answer."""
        span = trace.get_current_span()
        if not span.is_recording():
            await app(scope, receive, send)
            return

        async def send_described(message: Message) -> None:
            _describe(span, scope)
            await send(message)

        header = (b"traceparent", tracing.make_headers()[tracing.HEADER].encode())
        scope["headers"] = [*(one for one in scope["headers"] if one[0] != header[0]), header]
        await app(scope, receive, send_described)

    return OpenTelemetryMiddleware(
        describe,
        excluded_urls=",".join(f"{path}$" for path in UNLOGGED_PATHS),
        default_span_details=lambda scope: (scope.get("method", "WEBSOCKET"), {}),
        tracer=tracing.tracer,
        exclude_spans=["receive", "send"],
    )


def _describe(span: Span, scope: Scope) -> None:
    route = getattr(scope.get("route"), "path", None)
    if route:
        span.update_name(f"{scope.get('method', 'WEBSOCKET')} {route}")
        span.set_attribute("http.route", route)
    tracing.describe_span(
        span, {**scope.get("barnabee.log", {}), "code": scope.get("barnabee.code")}
    )


async def _set_server(span: Span, request: RequestInfo) -> None:
    span.set_attribute("server.address", getattr(request.url, "host", ""))


class _IdGenerator(RandomIdGenerator):
    def generate_trace_id(self) -> int:
        trace_id = tracing.get_trace_id()
        return int(trace_id if tracing.is_trace_id(trace_id) else tracing.new_trace_id(), 16)


class _Exporter(OTLPSpanExporter):
    """Leaves out calls that belong to no request, job or turn: polling."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        wanted = [_strip(one) for one in spans if one.parent or one.kind is not SpanKind.CLIENT]
        return super().export(wanted) if wanted else SpanExportResult.SUCCESS


def _strip(span: ReadableSpan) -> ReadableSpan:
    attributes = {
        key: value
        for key, value in (span.attributes or {}).items()
        if key in _ATTRIBUTES or key.startswith("barnabee.")
    }
    return ReadableSpan(
        name=span.name,
        context=span.context,
        parent=span.parent,
        resource=span.resource,
        attributes=attributes,
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
    )

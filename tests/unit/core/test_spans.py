"""OpenTelemetry spans: parents, stages, failures, privacy, a collector that does not answer."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import httpx
import pytest
import redis.asyncio
import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from barnabee.core import logging as barnabee_logging
from barnabee.core import spans, tracing
from barnabee.core.http import ServiceMiddleware, add_error_handlers
from barnabee.core.metrics import Metrics
from support.asgi_server import serve_app
from support.otlp import SpanReceiver, run_receiver
from support.redis import RedisServer

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{CALLER}-01"
SECRET = "the door code is 1234"
Handler = Callable[[Request], Awaitable[Response]]
Instrument = Callable[[ASGIApp], ASGIApp]


@contextmanager
def exporting() -> Iterator[tuple[SpanReceiver, Instrument]]:
    """Export spans in the block; they have arrived at its end."""
    with run_receiver() as received, spans.export_spans("api", received.url) as instrument:
        barnabee_logging.configure_logging("api")
        yield received, instrument


def make_app(handler: Handler) -> Starlette:
    app = Starlette(routes=[Route("/work/{name}", handler)])
    add_error_handlers(app)
    return app


async def request(
    instrument: Instrument, handler: Handler, url: str, headers: Mapping[str, str] | None = None
) -> dict[str, str]:
    wrapped = instrument(ServiceMiddleware(make_app(handler), Metrics("api"), None))
    transport = httpx.ASGITransport(wrapped, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as client:
        response = await client.get(url, headers=headers)
    return {**response.json(), "x-trace-id": response.headers["x-trace-id"]}


async def work(request: Request) -> Response:
    request.scope["barnabee.log"] = {
        "utterance": SECRET,
        "intent": "time",
        "stages_ms": {"intent": 1.0, "llm": 3.0, "llm_first_token": 2.0, "total": 4.0},
    }
    return JSONResponse(tracing.make_headers())


async def test_a_request_is_a_child_of_the_callers_span_and_has_its_stages() -> None:
    with exporting() as (received, instrument):
        answer = await request(instrument, work, "/work/1", headers={"traceparent": HEADER})
    by_name = {span.name: span for span in received.spans}
    found = by_name["GET /work/{name}"]
    assert (found.service, found.trace_id, found.parent_id) == ("barnabee-api", TRACE, CALLER)
    assert answer["traceparent"] == f"00-{TRACE}-{found.span_id}-01"
    assert answer["x-trace-id"] == TRACE
    assert set(by_name) == {"GET /work/{name}", "intent", "llm"}
    assert {by_name[name].parent_id for name in ("intent", "llm")} == {found.span_id}
    assert by_name["llm"].took_ms == pytest.approx(3.0, abs=0.01)
    assert found.attributes["http.status_code"] == "200"
    assert found.attributes["barnabee.intent"] == "time"


@pytest.mark.parametrize("header", [{}, {"traceparent": "nonsense"}])
async def test_a_request_without_a_caller_is_the_root_of_its_trace(header: dict[str, str]) -> None:
    with exporting() as (received, instrument):
        answer = await request(instrument, work, "/work/1", headers=header)
    found = next(span for span in received.spans if span.name == "GET /work/{name}")
    assert found.parent_id == ""
    assert {span.trace_id for span in received.spans} == {answer["x-trace-id"]}


async def test_a_failed_span_has_the_error_code() -> None:
    with exporting() as (received, instrument):
        await request(instrument, work, "/nowhere")
    assert [(span.failed, span.attributes["barnabee.code"]) for span in received.spans] == [
        (True, "not_found")
    ]


async def test_calls_of_a_request_are_its_children_and_spans_hold_no_content(
    redis_server: RedisServer,
) -> None:
    async def call(_request: Request) -> Response:
        async with httpx.AsyncClient(params={"q": SECRET}) as http:
            await http.get(f"{url.replace('//', '//user:word@')}/work/bananas")
        await cache.set("bananas", SECRET)
        async with cache.pipeline() as pipeline:
            await pipeline.rpush("bananas:1", SECRET).expire("bananas:1", 9).execute()
        raise ValueError(SECRET)

    with exporting() as (received, instrument):
        other = instrument(ServiceMiddleware(make_app(work), Metrics("gpu"), None))
        async with serve_app(other, lifespan="off") as url:
            cache = redis.asyncio.Redis.from_url(redis_server.url)
            await cache.ping()  # belongs to no request
            async with httpx.AsyncClient(base_url=url) as http:
                await http.get("/health/live")
            await request(instrument, call, f"/work/bananas?q={SECRET}")
            await cache.aclose()
    failed = next(span for span in received.spans if span.failed)
    children = {span.name: span for span in received.spans if span.parent_id == failed.span_id}
    assert set(children) == {"GET", "SET", "RPUSH EXPIRE"}
    assert children["GET"].attributes["server.address"] == "127.0.0.1"
    served = next(span for span in received.spans if span.parent_id == children["GET"].span_id)
    assert (served.name, served.trace_id) == ("GET /work/{name}", failed.trace_id)
    assert {span.trace_id for span in received.spans} == {failed.trace_id}
    assert SECRET.encode() not in received.raw
    assert b"bananas" not in received.raw


def test_a_job_with_a_wrong_trace_id_gets_a_new_one() -> None:
    with exporting() as (received, _):
        tracing.trace_id_var.set("no trace id")
        span = tracing.start_root_span("job")
        assert span is not None
        span.end()
    assert tracing.is_trace_id(received.spans[0].trace_id)


def test_a_root_span_has_the_trace_id_of_its_task() -> None:
    with exporting() as (received, _):
        trace_id = tracing.adopt_trace_id(None)
        span = tracing.start_root_span("job")
        assert span is not None
        structlog.get_logger().info("inference", stage="embed", engine="x", latency_ms=5)
        span.end()
    inference, job = received.spans
    assert (job.name, job.trace_id, job.parent_id) == ("job", trace_id, "")
    assert (inference.name, inference.parent_id) == ("embed", job.span_id)


def test_a_stuck_collector_holds_up_neither_spans_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    released, exported = threading.Event(), list[ReadableSpan]()

    def export(_exporter: OTLPSpanExporter, batch: Sequence[ReadableSpan]) -> SpanExportResult:
        released.wait()
        exported.extend(batch)
        return SpanExportResult.SUCCESS

    monkeypatch.setattr(OTLPSpanExporter, "export", export)
    monkeypatch.setattr(spans, "CLOSE_TIMEOUT_S", 0.01)
    with spans.export_spans("api", "http://127.0.0.1:9"):
        tracing.adopt_trace_id(None)
        for number in range(5000):  # more than twice the exporter's buffer
            tracing.record_span(f"n{number}", 1, 1.0, {})
    assert any(thread.name == spans.CLOSING_THREAD for thread in threading.enumerate())
    released.set()
    for thread in threading.enumerate():
        if thread.name.startswith("OtelBatch"):
            thread.join()
    assert 0 < len(exported) < 5000


def test_without_an_endpoint_nothing_of_the_sdk_is_imported() -> None:
    code = (
        "import sys; from barnabee.core import serve, tracing;"
        "import barnabee.api.app, barnabee.workers.app;"
        "assert tracing.start_root_span('job') is None;"
        "print([name for name in sys.modules if name.startswith("
        "('opentelemetry.sdk', 'opentelemetry.instrumentation', 'opentelemetry.exporter'))])"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == "[]"

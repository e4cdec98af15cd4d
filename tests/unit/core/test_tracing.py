"""Trace ids; OpenTelemetry spans: parents, stages, failures, privacy, no cost when switched off."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from barnabee.core import logging as barnabee_logging
from barnabee.core import tracing
from barnabee.core.http import ServiceMiddleware, add_error_handlers
from barnabee.core.metrics import Metrics
from barnabee.core.tracing import SPAN_RECORDER
from support.otlp import SpanReceiver, run_receiver

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{CALLER}-01"


@pytest.fixture
def traces() -> Iterator[SpanReceiver]:
    with run_receiver() as server:
        SPAN_RECORDER.configure("api", server.url)
        barnabee_logging.configure_logging("api", extra_processor=SPAN_RECORDER.record_log_event)
        yield server
        SPAN_RECORDER.close()


def client() -> httpx.AsyncClient:
    async def work(request: Request) -> Response:
        request.scope["barnabee.log"] = {
            "utterance": "the door code is 1234",
            "stages_ms": {"intent": 1.0, "llm": 3.0, "llm_first_token": 2.0, "total": 4.0},
        }
        return JSONResponse(tracing.make_headers())

    app = Starlette(routes=[Route("/work", work)])
    add_error_handlers(app)
    transport = httpx.ASGITransport(ServiceMiddleware(app, Metrics("api"), None))
    return httpx.AsyncClient(transport=transport, base_url="http://api")


async def test_a_request_is_a_child_of_the_callers_span_and_has_its_stages(
    traces: SpanReceiver,
) -> None:
    async with client() as http:
        passed_on = (await http.get("/work", headers={"traceparent": HEADER})).json()
    SPAN_RECORDER.close()
    by_name = {span.name: span for span in traces.spans}
    request = by_name["/work"]
    assert (request.service, request.trace_id, request.parent_id) == ("barnabee-api", TRACE, CALLER)
    assert passed_on["traceparent"] == f"00-{TRACE}-{request.span_id}-01"
    assert set(by_name) == {"/work", "intent", "llm"}
    assert {by_name[name].parent_id for name in ("intent", "llm")} == {request.span_id}
    assert by_name["llm"].took_ms == pytest.approx(3.0, abs=0.01)
    assert request.attributes["barnabee.status"] == "200"


async def test_a_request_without_a_caller_is_the_root_of_its_trace(traces: SpanReceiver) -> None:
    async with client() as http:
        await http.get("/work")
    SPAN_RECORDER.close()
    request = next(span for span in traces.spans if span.name == "/work")
    assert request.parent_id == ""
    assert len(request.trace_id) == 32


async def test_a_failed_span_has_the_error_code(traces: SpanReceiver) -> None:
    async with client() as http:
        await http.get("/nowhere")
    SPAN_RECORDER.close()
    assert [(span.failed, span.attributes["barnabee.code"]) for span in traces.spans] == [
        (True, "not_found")
    ]


async def test_no_span_contains_the_utterance(traces: SpanReceiver) -> None:
    async with client() as http:
        await http.get("/work")
    SPAN_RECORDER.close()
    assert traces.spans
    assert not any("1234" in value for one in traces.spans for value in one.attributes.values())


class BlockedExporter(SpanExporter):
    """An exporter that blocks until it is released."""

    def __init__(self) -> None:
        self.released = threading.Event()
        self.exported = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.released.wait()
        self.exported += len(spans)
        return SpanExportResult.SUCCESS


def test_a_blocked_exporter_does_not_block_the_service() -> None:
    exporter = BlockedExporter()
    SPAN_RECORDER.configure("api", "", exporter=exporter)
    tracing.adopt_trace_id(None)
    for number in range(5000):  # more than twice the buffer of the exporter
        SPAN_RECORDER.record_span(f"n{number}", 1, 1.0, {})
    exporter.released.set()
    SPAN_RECORDER.close()
    assert 0 < exporter.exported < 5000


def test_without_an_endpoint_the_sdk_is_not_imported() -> None:
    code = (
        "import sys; from barnabee.core import serve; from barnabee.core.tracing import "
        "SPAN_RECORDER; SPAN_RECORDER.configure('api', '');"
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )


def test_a_callers_trace_id_is_adopted_and_passed_on() -> None:
    assert tracing.adopt_trace_id(f"00-{TRACE}-b7ad6b7169203331-01") == TRACE
    assert tracing.parse_trace_id(tracing.make_headers()[tracing.HEADER]) == TRACE


@pytest.mark.parametrize(
    "header",
    [None, "", "nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-b7ad-01"],
)
def test_an_invalid_header_gets_a_new_trace_id(header: str | None) -> None:
    first, second = tracing.adopt_trace_id(header), tracing.adopt_trace_id(header)
    assert first != second
    assert len(first) == 32


@given(st.text())
def test_a_random_header_is_no_error(header: str) -> None:
    assert tracing.parse_trace_id(tracing.make_headers()[tracing.HEADER])
    tracing.adopt_trace_id(header)

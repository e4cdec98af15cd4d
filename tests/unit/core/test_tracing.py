"""Spans have our ids, hang beneath the caller's, and cost nothing while nobody wants them."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence

import httpx
import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from barnabee.core import logging as barnabee_logging
from barnabee.core import trace_context
from barnabee.core.http import Front, handle_errors
from barnabee.core.metrics import Metrics
from barnabee.core.tracing import SPANS
from support.otlp import Receiver, receiver

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
HEADER = f"00-{TRACE}-{CALLER}-01"


@pytest.fixture
def traces() -> Iterator[Receiver]:
    with receiver() as found:
        SPANS.configure("api", found.url)
        barnabee_logging.configure("api", watcher=SPANS.of_line)
        yield found
        SPANS.close()


def client() -> httpx.AsyncClient:
    async def work(request: Request) -> Response:
        request.scope["barnabee.log"] = {
            "utterance": "the door code is 1234",
            "stages_ms": {"intent": 1.0, "llm": 3.0, "llm_first_token": 2.0, "total": 4.0},
        }
        return JSONResponse(trace_context.headers())

    app = Starlette(routes=[Route("/work", work)])
    handle_errors(app)
    front = Front(app, Metrics("api"), None)
    transport = httpx.ASGITransport(front)
    return httpx.AsyncClient(transport=transport, base_url="http://api")


async def test_a_request_is_a_span_beneath_its_caller_with_its_stages(traces: Receiver) -> None:
    async with client() as http:
        passed_on = (await http.get("/work", headers={"traceparent": HEADER})).json()
    SPANS.close()
    by_name = {span.name: span for span in traces.spans}
    request = by_name["/work"]
    assert (request.service, request.trace_id, request.parent_id) == ("barnabee-api", TRACE, CALLER)
    assert passed_on["traceparent"] == f"00-{TRACE}-{request.span_id}-01"
    assert set(by_name) == {"/work", "intent", "llm"}
    assert {by_name[name].parent_id for name in ("intent", "llm")} == {request.span_id}
    assert by_name["llm"].took_ms == pytest.approx(3.0, abs=0.01)
    assert request.attributes["barnabee.status"] == "200"


async def test_a_request_without_a_caller_is_the_top_of_its_trace(traces: Receiver) -> None:
    async with client() as http:
        await http.get("/work")
    SPANS.close()
    request = next(span for span in traces.spans if span.name == "/work")
    assert request.parent_id == ""
    assert len(request.trace_id) == 32


async def test_a_failure_is_marked_with_its_code(traces: Receiver) -> None:
    async with client() as http:
        await http.get("/nowhere")
    SPANS.close()
    assert [(span.failed, span.attributes["barnabee.code"]) for span in traces.spans] == [
        (True, "not_found")
    ]


async def test_no_span_holds_what_was_said(traces: Receiver) -> None:
    async with client() as http:
        await http.get("/work")
    SPANS.close()
    assert traces.spans
    assert not any("1234" in value for one in traces.spans for value in one.attributes.values())


class Stuck(SpanExporter):
    """A receiver that answers when it is let go."""

    def __init__(self) -> None:
        self.let_go = threading.Event()
        self.taken = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.let_go.wait()
        self.taken += len(spans)
        return SpanExportResult.SUCCESS


def test_a_receiver_that_hangs_holds_nobody() -> None:
    stuck = Stuck()
    SPANS.configure("api", "", exporter=stuck)
    trace_context.adopt(None)
    for number in range(5000):  # twice what is kept for it: this would never end
        SPANS.record(f"n{number}", 1, 1.0, {})
    stuck.let_go.set()
    SPANS.close()
    assert 0 < stuck.taken < 5000


def test_without_an_endpoint_nothing_of_it_is_imported() -> None:
    code = (
        "import sys; from barnabee.core import serve; from barnabee.core.tracing import SPANS;"
        "SPANS.configure('api', '');"
        "sys.exit(any(name.startswith('opentelemetry.sdk') for name in sys.modules))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path)}
    assert (
        subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0
    )

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.api.request_bodies import TurnTimingsRequest, parse
from barnabee.clients.api import StageTiming, TurnReport, send_turn_report
from barnabee.core import system
from barnabee.core.errors import BadInput, BadRequest, DependencyDown, TimedOut, Unavailable
from support.turn_records import REPORT_BODY

TRACE = "0af7651916cd43dd8448eb211c80319c"
TOLD = TurnReport(
    trace_id=TRACE,
    room="kitchen",
    said_at="2026-01-01T00:00:00.000Z",
    stages={"stt": StageTiming(210.5, 640.0)},
    engine="whisper",
    degraded=("llm",),
)


def client(answer: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="http://api", transport=httpx.MockTransport(answer))


def test_the_body_of_a_whole_turn_is_read() -> None:
    told = parse(json.dumps(REPORT_BODY).encode())

    assert told.model_dump() == REPORT_BODY


def test_most_of_it_may_be_left_out() -> None:
    told = parse(b'{"room": "k", "said_at": "2026-01-01T00:00:00.000Z", "stages": {}}')

    assert (told.engine, told.filler, told.interrupted, told.degraded) == (None, None, False, [])


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"room": None}, "room"),
        ({"room": "../etc"}, "room"),
        ({"said_at": "yesterday"}, "said_at"),
        ({"stages": {"lunch": {"at_ms": 0, "took_ms": 1}}}, "stages.lunch"),
        ({"stages": {"stt": {"at_ms": 0, "took_ms": -1}}}, "stages.stt.took_ms"),
        ({"stages": {"stt": {"at_ms": 0, "took_ms": "1"}}}, "stages.stt.took_ms"),
        ({"stages": {"stt": {"at_ms": float("nan"), "took_ms": 1}}}, "stages.stt.at_ms"),
        ({"stages": {"stt": 12}}, "stages.stt"),
        ({"interrupted": "yes"}, "interrupted"),
        ({"heard": "x" * 20_001}, "heard"),
        ({"degraded": "llm"}, "degraded"),
        ({"surprise": 1}, "surprise"),
    ],
)
def test_what_is_wrong_is_named_by_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(BadRequest, match=f"field `{field}"):
        parse(json.dumps(REPORT_BODY | change).encode())


@given(st.binary(max_size=60))
def test_whatever_is_sent_is_refused_in_a_sentence(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse(body)


def test_every_stage_with_a_budget_can_be_told() -> None:
    budgets = system.load_system().stage.model_dump()
    stages = {name.removesuffix("_ms"): {"at_ms": 0.0, "took_ms": 1.0} for name in budgets}

    assert set(parse(json.dumps(REPORT_BODY | {"stages": stages}).encode()).stages) == set(stages)


async def test_what_the_client_sends_is_what_the_api_reads() -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(202, json={"trace_id": TRACE, "degraded": []})

    await send_turn_report(client(answer), TOLD)

    assert sent[0].url.path == f"/v1/turns/{TRACE}/spoken"
    read = parse(sent[0].content)
    assert read == TurnTimingsRequest.model_validate_json(sent[0].content)
    assert (read.engine, read.degraded, read.stages["stt"].took_ms) == ("whisper", ["llm"], 640.0)


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (503, "overloaded", Unavailable),
        (401, "unauthorized", DependencyDown),
        (400, "bad_request", BadInput),
    ],
)
async def test_a_refusal_is_told_to_the_caller(
    status: int, code: str, error: type[Exception]
) -> None:
    body = {"code": code, "message": "No.", "trace_id": TRACE}

    with pytest.raises(error):
        await send_turn_report(client(lambda _: httpx.Response(status, json=body)), TOLD)


@pytest.mark.parametrize(
    ("failure", "error"),
    [(httpx.ConnectError("refused"), DependencyDown), (httpx.ReadTimeout("slow"), TimedOut)],
)
async def test_an_api_that_is_away_is_named(failure: Exception, error: type[Exception]) -> None:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise failure

    with pytest.raises(error, match="api"):
        await send_turn_report(client(answer), TOLD)

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.api.request_bodies import (
    CommandRequest,
    TurnTimingsRequest,
    check_utterance,
    parse_command,
    parse_turn_timings,
)
from barnabee.clients.api import StageTiming, TurnReport, send_turn_report
from barnabee.core import system
from barnabee.core.errors import (
    BadInput,
    BadRequest,
    DependencyDown,
    InvalidUtterance,
    TimedOut,
    TooLarge,
    Unavailable,
)
from support.turn_records import REPORT_BODY

TRACE = "0af7651916cd43dd8448eb211c80319c"


REPORT = TurnReport(
    trace_id=TRACE,
    room="kitchen",
    said_at="2026-01-01T00:00:00.000Z",
    stages={"stt": StageTiming(210.5, 640.0)},
    engine="whisper",
    degraded=("llm",),
)


def test_command_is_parsed() -> None:
    body = b'{"utterance": "turn on the light", "session_id": "s-1", "speaker": "Emma"}'
    expected = CommandRequest(utterance="turn on the light", session_id="s-1", speaker="Emma")
    assert parse_command(body, max_chars=100) == expected


@pytest.mark.parametrize(
    ("body", "error", "says"),
    [
        (b"", BadRequest, "must be JSON"),
        (b"turn on the light", BadRequest, "must be JSON"),
        (b'{"utterance": "x"', BadRequest, "must be JSON"),
        (b'{"utterance": "\xff\xfe"}', BadRequest, "must be JSON"),
        (b'{"utterance": "\\ud800"}', BadRequest, "must be JSON"),
        (b"\xff", BadRequest, "must be JSON"),
        (b"[]", BadRequest, "body"),
        (b"null", BadRequest, "body"),
        (b"{}", InvalidUtterance, "is missing"),
        (b'{"utterance": null}', InvalidUtterance, "must be text"),
        (b'{"utterance": 7}', InvalidUtterance, "must be text"),
        (b'{"utterance": ""}', InvalidUtterance, "has no words"),
        (b'{"utterance": "  \\n "}', InvalidUtterance, "has no words"),
        (b'{"utterance": "?!"}', InvalidUtterance, "has no words"),
        (b'{"utterance": "a\\u0000b"}', InvalidUtterance, "U\\+0000"),
        (b'{"utterance": "a\\u001bb"}', InvalidUtterance, "U\\+001B"),
        (b'{"utterance": "a\\u0085b"}', InvalidUtterance, "U\\+0085"),
        (b'{"utterance": "hi", "sesion_id": "x"}', BadRequest, "sesion_id"),
        (b'{"utterance": "hi", "session_id": "a b"}', BadRequest, "session_id"),
        (b'{"utterance": "hi", "session_id": ""}', BadRequest, "session_id"),
        (b'{"utterance": "hi", "session_id": "' + b"x" * 65 + b'"}', BadRequest, "session_id"),
        (b'{"utterance": "hi", "speaker": ""}', BadRequest, "speaker"),
        (b'{"utterance": "hi", "speaker": "a\\nb"}', BadRequest, "speaker"),
    ],
)
def test_invalid_command_is_an_error_that_names_the_field(
    body: bytes, error: type[BadInput], says: str
) -> None:
    with pytest.raises(error, match=says):
        parse_command(body, max_chars=100)


def test_length_limit_counts_characters() -> None:
    assert parse_command(json.dumps({"utterance": "é" * 100}).encode(), max_chars=100)
    with pytest.raises(TooLarge, match="100 characters"):
        parse_command(json.dumps({"utterance": "é" * 101}).encode(), max_chars=100)


@pytest.mark.parametrize("text", ["a\tb", "two\nlines", "emoji 😀 ok", "日本語", "zero\u200bwidth"])
def test_other_scripts_and_white_space_are_allowed(text: str) -> None:
    check_utterance(text, max_chars=100)


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_rejected(body: bytes) -> None:
    with suppress(BadInput):
        assert parse_command(body, max_chars=50).utterance


@given(st.text(max_size=60))
def test_accepted_text_can_be_encoded(text: str) -> None:
    try:
        check_utterance(text, max_chars=50)
    except BadInput:
        return
    assert text.encode()
    assert "\0" not in text
    assert len(text) <= 50


def make_client(respond: Any) -> httpx.AsyncClient:
    return httpx.AsyncClient(base_url="http://api", transport=httpx.MockTransport(respond))


def test_complete_timings_are_parsed() -> None:
    timings = parse_turn_timings(json.dumps(REPORT_BODY).encode())

    assert timings.model_dump() == REPORT_BODY


def test_optional_fields_may_be_missing() -> None:
    timings = parse_turn_timings(
        b'{"room": "k", "said_at": "2026-01-01T00:00:00.000Z", "stages": {}}'
    )

    assert (timings.engine, timings.filler, timings.interrupted, timings.degraded) == (
        None,
        None,
        False,
        [],
    )


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
def test_invalid_timings_are_an_error_that_names_the_field(
    change: dict[str, Any], field: str
) -> None:
    with pytest.raises(BadRequest, match=f"field `{field}"):
        parse_turn_timings(json.dumps(REPORT_BODY | change).encode())


@given(st.binary(max_size=60))
def test_any_other_bytes_are_rejected(body: bytes) -> None:
    with pytest.raises(BadRequest):
        parse_turn_timings(body)


def test_every_stage_with_a_budget_is_accepted() -> None:
    budgets = system.load_system().stage.model_dump()
    stages = {name.removesuffix("_ms"): {"at_ms": 0.0, "took_ms": 1.0} for name in budgets}

    assert set(
        parse_turn_timings(json.dumps(REPORT_BODY | {"stages": stages}).encode()).stages
    ) == set(stages)


async def test_client_and_api_agree_on_the_format() -> None:
    sent: list[httpx.Request] = []

    def respond(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(202, json={"trace_id": TRACE, "degraded": []})

    await send_turn_report(make_client(respond), REPORT)

    assert sent[0].url.path == f"/v1/turns/{TRACE}/spoken"
    read = parse_turn_timings(sent[0].content)
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
async def test_error_response_raises_in_the_client(
    status: int, code: str, error: type[Exception]
) -> None:
    body = {"code": code, "message": "No.", "trace_id": TRACE}

    with pytest.raises(error):
        await send_turn_report(make_client(lambda _: httpx.Response(status, json=body)), REPORT)


@pytest.mark.parametrize(
    ("failure", "error"),
    [(httpx.ConnectError("refused"), DependencyDown), (httpx.ReadTimeout("slow"), TimedOut)],
)
async def test_unreachable_api_raises_an_error_that_names_it(
    failure: Exception, error: type[Exception]
) -> None:
    def respond(_request: httpx.Request) -> httpx.Response:
        raise failure

    with pytest.raises(error, match="api"):
        await send_turn_report(make_client(respond), REPORT)

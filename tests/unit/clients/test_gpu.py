from __future__ import annotations

import base64
import json
from collections.abc import Callable

import httpx
import numpy as np
import pytest

from barnabee.audio import wav
from barnabee.clients.gpu import GpuClient, TranscriptionResult
from barnabee.core import tracing
from barnabee.core.errors import BadInput, DependencyDown, TimedOut


def make_client(
    handler: Callable[[httpx.Request], httpx.Response], timeout_s: float = 10
) -> GpuClient:
    transport = httpx.MockTransport(handler)
    return GpuClient("http://gpu", "made-up", timeout_s=timeout_s, transport=transport)


def responding_client(status: int, body: object) -> GpuClient:
    return make_client(lambda _request: httpx.Response(status, json=body))


async def test_every_request_has_the_token_and_the_trace() -> None:
    requests: list[httpx.Request] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={"text": "hi", "duration": 1.5, "engine": "whisper-base"})

    trace_id = tracing.adopt_trace_id(None)
    result = await make_client(handler).transcribe(b"RIFF")
    assert result == TranscriptionResult("hi", 1.5, "en", "whisper-base")
    assert requests[0].headers["authorization"] == "Bearer made-up"
    assert trace_id in requests[0].headers["traceparent"]
    assert b'name="file"' in requests[0].content


async def test_embeddings_are_float32_in_request_order() -> None:
    rows = np.eye(2, 384, dtype="<f4")
    data = [{"embedding": base64.b64encode(row.tobytes()).decode()} for row in rows]
    got = await responding_client(200, {"data": data}).embed(["a", "b"])
    assert got.dtype == np.float32
    np.testing.assert_array_equal(got, rows)


async def test_no_texts_send_no_request() -> None:
    assert (await responding_client(500, {}).embed([])).shape == (0, 384)


async def test_speech_is_streamed_with_the_chosen_voice() -> None:
    requests: list[dict[str, str]] = []

    def handler(request: httpx.Request) -> httpx.Response:
        requests.append(json.loads(request.content))
        return httpx.Response(200, content=b"sound")

    client = make_client(handler)
    assert b"".join([chunk async for chunk in client.speak("Hello")]) == b"sound"
    assert [c async for c in client.speak("Hi", voice="af_heart", format="pcm")] == [b"sound"]
    assert "voice" not in requests[0]
    assert (requests[1]["voice"], requests[1]["response_format"]) == ("af_heart", "pcm")


async def test_request_error_keeps_its_code_and_message() -> None:
    body = {"code": "invalid_audio", "message": "The field `file` is not usable audio: 0 s."}
    with pytest.raises(BadInput) as refused:
        await responding_client(400, body).transcribe(b"")
    assert (refused.value.code, refused.value.status) == ("invalid_audio", 400)
    assert refused.value.body("t")["message"] == body["message"]
    assert BadInput.code == "bad_input"  # the class is unchanged


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (503, {"code": "loading", "message": "kokoro-int8 is still loading: try again."}),
        (500, {"code": "model_damaged", "message": "The model file x is damaged (y): delete it."}),
        (401, {"code": "unauthorized", "message": "This needs a token."}),
        (502, "no json of ours"),
    ],
)
async def test_service_error_is_dependency_down(status: int, body: object) -> None:
    client = responding_client(status, body)
    with pytest.raises(DependencyDown, match="gpu does not answer"):
        await client.transcribe(b"RIFF")
    with pytest.raises(DependencyDown, match="gpu does not answer"):
        [chunk async for chunk in client.speak("hello")]


async def test_refused_connection_and_timeout_are_different_errors() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("connection refused", request=request)

    def crawl(request: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("", request=request)

    with pytest.raises(DependencyDown, match="connection refused"):
        await make_client(refuse).embed(["a"])
    with pytest.raises(TimedOut, match="250 ms"):
        await make_client(crawl, timeout_s=0.25).embed(["a"])
    with pytest.raises(DependencyDown, match="connection refused"):
        await make_client(refuse).ready()


@pytest.mark.parametrize("body", [{}, {"data": [{}]}, {"data": [{"embedding": "!!"}]}, [], "x"])
async def test_invalid_response_is_dependency_down(body: object) -> None:
    with pytest.raises(DependencyDown, match="invalid response"):
        await responding_client(200, body).embed(["a"])


def report(**states: str) -> dict[str, object]:
    findings = {name: {"status": state, "message": f"{name}?"} for name, state in states.items()}
    return {"status": "whatever", "dependencies": findings}


async def test_readiness_is_healthy_degraded_or_raised() -> None:
    assert await responding_client(200, report(stt="healthy", tts="healthy")).ready() is None
    degraded = await responding_client(200, report(stt="healthy", tts="unhealthy")).ready()
    assert degraded is not None
    assert degraded.code == "gpu_degraded"
    assert "tts" in degraded.message
    with pytest.raises(DependencyDown, match="stt"):
        await responding_client(503, report(stt="unhealthy")).ready()


def test_streamed_wav_gets_its_length() -> None:
    unknown = b"\xff\xff\xff\xff"
    streamed = b"RIFF" + unknown + b"WAVEfmt " + bytes(20) + b"data" + unknown + b"1234"
    sized = wav.set_length(streamed)
    assert sized[4:8] == (len(streamed) - 8).to_bytes(4, "little")
    assert sized[-8:] == b"\4\0\0\0" + b"1234"
    assert wav.set_length(b"no wav") == b"no wav"

from __future__ import annotations

import io
import json
import wave
from pathlib import Path
from typing import Any

import httpx
import pytest

from barnabee.cli import say
from barnabee.cli.clients import ServiceClients
from barnabee.clients.gpu import GpuClient
from barnabee.core.errors import BadRequest, DependencyDown, InvalidAudio, Unauthorized, Unavailable

ANSWER = {
    "reply": "It is five.",
    "intent": "time",
    "actions": [{"type": "entity", "name": "Kitchen light", "state": None}],
    "session_id": "s1",
    "trace_id": "t1",
    "degraded": ["llm"],
    "code": None,
    "latency_ms": {"intent": 2.0, "total": 3.25},
}
SECOND = bytes(2 * 24_000)


class FakeServices:
    """An api and an inference service with given answers."""

    def __init__(self, status: int = 200, answer: dict[str, Any] | None = None) -> None:
        self.status = status
        self.answer = answer or ANSWER
        self.requests: list[dict[str, Any]] = []

    def clients(self) -> ServiceClients:
        transport = httpx.MockTransport(self.handle)
        api = httpx.AsyncClient(base_url="http://api", transport=transport)
        return ServiceClients(api, GpuClient("http://gpu", "token", transport=transport))

    def handle(self, request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/command":
            self.requests.append(json.loads(request.content))
            return httpx.Response(self.status, json=self.answer)
        if request.url.path == "/v1/audio/speech":
            return httpx.Response(200, content=SECOND)
        heard = {"text": "what time is it", "duration": 1.0, "language": "en", "engine": "x"}
        return httpx.Response(200, json=heard)


async def test_text_prints_reply_intent_actions_and_times(
    capsys: pytest.CaptureFixture[str],
) -> None:
    services = FakeServices()
    origin = say.CommandOrigin("s1", "kitchen")
    await say._converse(services.clients(), "what time is it", None, None, origin)
    assert services.requests == [
        {"utterance": "what time is it", "session_id": "s1", "room": "kitchen"}
    ]
    out = capsys.readouterr().out
    assert "reply:    It is five." in out
    assert "intent:   time" in out
    assert "action:   type entity, name Kitchen light\n" in out
    assert "degraded: llm" in out
    assert "intent 2.0, total 3.2" in out


async def test_a_recording_is_transcribed_and_the_reply_saved(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    services, out = FakeServices(), tmp_path / "reply.wav"
    question = tmp_path / "question.wav"
    question.write_bytes(_wav())
    await say._converse(services.clients(), None, question, out, say.CommandOrigin())
    assert services.requests == [{"utterance": "what time is it"}]
    assert "heard:    what time is it" in capsys.readouterr().out
    with wave.open(str(out)) as file:
        assert (file.getnchannels(), file.getframerate(), file.getnframes()) == (1, 24_000, 24_000)


async def test_a_recording_uses_one_turn_of_the_inference_service(
    tmp_path: Path,
) -> None:
    seen: list[tuple[str, str, str]] = []
    services = FakeServices()

    async def handle(request: httpx.Request) -> httpx.Response:
        session = request.headers.get("x-barnabee-session", "")
        seen.append((request.method, request.url.path, session))
        if request.url.path == "/v1/turns":
            return httpx.Response(201, json={"id": "t1"})
        return services.handle(request)

    transport = httpx.MockTransport(handle)
    api = httpx.AsyncClient(base_url="http://api", transport=transport)
    gpu = GpuClient("http://gpu", "token", transport=transport)
    question = tmp_path / "question.wav"
    question.write_bytes(_wav())
    clients, origin = ServiceClients(api, gpu), say.CommandOrigin("s1")
    await say._converse_in_turn(clients, question, tmp_path / "reply.wav", origin)
    await gpu.aclose()
    spoken = [path for _, path, session in seen if session == "s1"]
    assert spoken == ["/v1/audio/transcriptions", "/v1/audio/speech"]
    assert ("POST", "/v1/turns", "") in seen
    assert seen[-1] == ("DELETE", "/v1/turns/t1", "")


@pytest.mark.parametrize(
    ("status", "body", "error", "message"),
    [
        (400, {"message": "The field `utterance` is empty."}, BadRequest, "is empty"),
        (401, {}, Unauthorized, "Authentication required"),
        (503, {"message": "busy"}, Unavailable, "busy"),
        (502, {}, Unavailable, "answered HTTP 502"),
    ],
)
async def test_an_error_of_the_api_keeps_its_message(
    status: int, body: dict[str, Any], error: type[Exception], message: str
) -> None:
    services = FakeServices(status, body)
    services.answer = body
    with pytest.raises(error, match=message):
        await say._converse(services.clients(), "hello", None, None, say.CommandOrigin())


async def test_an_unreachable_api_is_named() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    api = httpx.AsyncClient(base_url="http://api", transport=httpx.MockTransport(refuse))
    with pytest.raises(DependencyDown, match="api does not answer"):
        await say._send_command(api, "hello", say.CommandOrigin())


def test_a_missing_recording_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidAudio, match="cannot be read"):
        say._read_recording(tmp_path / "none.wav")


def _wav() -> bytes:
    buffer = io.BytesIO()
    with wave.open(buffer, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(16_000)
        file.writeframes(bytes(3200))
    return buffer.getvalue()

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from barnabee.clients.api import ApiClient, find_unspoken
from barnabee.core import tracing
from barnabee.core.errors import BadInput, DependencyDown, Overloaded, TimedOut

ANSWER: dict[str, Any] = {
    "reply": "Done.",
    "intent": "home_control",
    "actions": [{"type": "entity"}],
    "session_id": "s",
    "trace_id": "t",
    "degraded": ["llm"],
    "code": None,
    "latency_ms": {"total": 2},
}


def make_client(respond: Callable[[httpx.Request], httpx.Response]) -> ApiClient:
    return ApiClient("http://api", "secret", timeout_s=2, transport=httpx.MockTransport(respond))


def raising(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    return answer


async def test_command_sends_token_session_and_trace() -> None:
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=ANSWER)

    trace_id = tracing.adopt_trace_id(None)
    reply = await make_client(answer).command("turn on the light", "kitchen-1", room="kitchen")
    assert (reply.reply, reply.intent, reply.degraded) == ("Done.", "home_control", ["llm"])
    assert requests[0].headers["authorization"] == "Bearer secret"
    assert trace_id in requests[0].headers["traceparent"]
    sent = {"utterance": "turn on the light", "session_id": "kitchen-1", "room": "kitchen"}
    assert json.loads(requests[0].read()) == sent


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (raising(httpx.ConnectError("refused")), DependencyDown),
        (raising(httpx.ReadTimeout("slow")), TimedOut),
        (lambda _: httpx.Response(500, json={"code": "internal", "message": "no"}), DependencyDown),
        (lambda _: httpx.Response(200, json={"reply": "only"}), DependencyDown),
        (lambda _: httpx.Response(200, content=b"nonsense"), DependencyDown),
        (
            lambda _: httpx.Response(400, json={"code": "invalid_utterance", "message": "x"}),
            BadInput,
        ),
        (lambda _: httpx.Response(429, json={"code": "rate_limited", "message": "x"}), Overloaded),
    ],
)
async def test_every_failure_has_its_error(
    answer: Callable[[httpx.Request], httpx.Response], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        await make_client(answer).command("turn on the light", "s")


async def test_degraded_health_names_the_failed_dependency() -> None:
    dependencies = {"redis": {"status": "unhealthy", "message": "gone"}}
    report = {"status": "degraded", "service": "api", "dependencies": dependencies}
    reply = await make_client(lambda _: httpx.Response(200, json=report)).ready()
    assert reply is not None
    assert (reply.code, reply.message) == ("api_degraded", "api: redis: gone")
    with pytest.raises(DependencyDown):
        await make_client(raising(httpx.ConnectError("refused"))).ready()


def stream(*events: tuple[str, dict[str, Any]]) -> httpx.Response:
    text = "".join(f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    return httpx.Response(200, text=text, headers={"content-type": "text/event-stream"})


async def test_streamed_sentences_come_before_the_reply() -> None:
    requests: list[httpx.Request] = []
    spoken: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return stream(("sentence", {"text": "One."}), ("result", ANSWER))

    async def speak(sentence: str) -> None:
        spoken.append(sentence)

    reply = await make_client(answer).command("hello", "s", on_sentence=speak)
    assert (spoken, reply.reply) == (["One."], "Done.")
    assert requests[0].headers["accept"] == "text/event-stream"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (stream(("error", {"code": "internal", "message": "no"})), DependencyDown),
        (stream(("sentence", {"text": "One."})), DependencyDown),
        (stream(("sentence", {})), DependencyDown),
        (httpx.Response(400, json={"code": "invalid_utterance", "message": "x"}), BadInput),
    ],
)
async def test_a_stream_that_fails_is_an_error(
    answer: httpx.Response, kind: type[Exception]
) -> None:
    async def speak(_sentence: str) -> None: ...

    with pytest.raises(kind):
        await make_client(lambda _: answer).command("hello", "s", on_sentence=speak)


@pytest.mark.parametrize(
    ("reply", "spoken", "rest"),
    [
        ("Light on.", [], "Light on."),
        ("One. Two.", ["One.", "Two."], ""),
        ("One. Two. It broke off.", ["One.", "Two."], "It broke off."),
        ("Something else.", ["One."], "Something else."),
    ],
)
def test_what_was_spoken_is_not_spoken_again(reply: str, spoken: list[str], rest: str) -> None:
    assert find_unspoken(reply, spoken) == rest

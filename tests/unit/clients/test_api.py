from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from barnabee.clients.api import ApiClient
from barnabee.core import trace_context
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


def client(answer: Callable[[httpx.Request], httpx.Response]) -> ApiClient:
    return ApiClient("http://api", "secret", timeout_s=2, transport=httpx.MockTransport(answer))


def refusing(error: Exception) -> Callable[[httpx.Request], httpx.Response]:
    def answer(_request: httpx.Request) -> httpx.Response:
        raise error

    return answer


async def test_a_command_carries_token_session_and_trace_and_its_answer_is_read() -> None:
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(200, json=ANSWER)

    trace_id = trace_context.adopt(None)
    found = await client(answer).command("turn on the light", "kitchen-1")
    assert (found.reply, found.intent, found.degraded) == ("Done.", "home_control", ["llm"])
    assert asked[0].headers["authorization"] == "Bearer secret"
    assert trace_id in asked[0].headers["traceparent"]
    assert asked[0].read() == b'{"utterance":"turn on the light","session_id":"kitchen-1"}'


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (refusing(httpx.ConnectError("refused")), DependencyDown),
        (refusing(httpx.ReadTimeout("slow")), TimedOut),
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
        await client(answer).command("turn on the light", "s")


async def test_its_health_says_what_it_lacks() -> None:
    dependencies = {"redis": {"status": "unhealthy", "message": "gone"}}
    report = {"status": "degraded", "service": "api", "dependencies": dependencies}
    found = await client(lambda _: httpx.Response(200, json=report)).ready()
    assert found is not None
    assert (found.code, found.message) == ("api_degraded", "api: redis: gone")
    with pytest.raises(DependencyDown):
        await client(refusing(httpx.ConnectError("refused"))).ready()

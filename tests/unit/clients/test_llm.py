"""The language model's client at a server that streams, refuses, stalls and breaks off."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any

import pytest

from barnabee.clients.llm import LlmClient
from barnabee.core.errors import LlmFailed
from barnabee.core.schema import LlmConfig
from barnabee.core.system import get_system
from barnabee.understanding.interfaces import ModelRequest, ToolRequest
from support.asgi_server import serve_app
from support.fake_llm import FakeLlmServer, ScriptedAnswer
from support.wait import find_free_port

QUESTION = ModelRequest([{"role": "user", "content": "capital of france"}], (), {"sentence": 17})


@pytest.fixture(params=["openai", "azure"])
def server(request: pytest.FixtureRequest) -> FakeLlmServer:
    return FakeLlmServer(provider=request.param)


@asynccontextmanager
async def connect(
    server: FakeLlmServer, *, key: str = "llm-key", model: str = "family", **limits: Any
) -> AsyncIterator[LlmClient]:
    async with serve_app(server.make_app()) as address:
        url = address if server.provider == "azure" else f"{address}/v1"
        client = make_client(url, key=key, model=model, provider=server.provider, **limits)
        await client._get_client()  # import the SDK before a time limit starts
        yield client
        await client.aclose()


def make_client(url: str, *, key: str = "llm-key", **options: Any) -> LlmClient:
    hooks = {name: options.pop(name) for name in ("clock", "on_sent") if name in options}
    limits = {"first_token_ms": 20_000, "stall_ms": 20_000} | options
    config = get_system().llm.model_copy(update={"url": url, "model": "family", **limits})
    return LlmClient(LlmConfig.model_validate(config.model_dump()), key, **hooks)


async def read(client: LlmClient, request: ModelRequest = QUESTION) -> list[str | ToolRequest]:
    return [piece async for piece in client.generate(request)]


async def read_until_failure(client: LlmClient) -> tuple[list[str | ToolRequest], LlmFailed]:
    pieces: list[str | ToolRequest] = []
    try:
        async for piece in client.generate(QUESTION):
            pieces.append(piece)  # noqa: PERF401 - they must outlive the failure
    except LlmFailed as error:
        return pieces, error
    pytest.fail("no failure")


async def test_pieces_are_yielded_as_they_are_generated(server: FakeLlmServer) -> None:
    server.answer.hang_before = 1
    async with connect(server) as client, aclosing(client.generate(QUESTION)) as pieces:
        assert await anext(pieces) == "Paris"


async def test_closing_the_answer_ends_its_generation(server: FakeLlmServer) -> None:
    server.answer.hang_before = 1
    async with connect(server) as client:
        pieces = client.generate(QUESTION)
        await anext(pieces)
        await pieces.aclose()
        async with asyncio.timeout(60):
            await server.left.wait()


async def test_tool_requests_follow_the_text(server: FakeLlmServer) -> None:
    server.answer = ScriptedAnswer(
        ("Sure.",), [("turn_on", {"name": "lamp"}), ("set_timer", {"duration": "5 minutes"})]
    )
    tool = {"type": "function", "function": {"name": "turn_on", "parameters": {"type": "object"}}}
    async with connect(server) as client:
        pieces = await read(client, ModelRequest(QUESTION.messages, (tool,)))
    assert pieces == [
        "Sure.",
        ToolRequest("call-0", "turn_on", '{"name": "lamp"}'),
        ToolRequest("call-1", "set_timer", '{"duration": "5 minutes"}'),
    ]
    assert server.requests[0]["tools"] == [tool]


@pytest.mark.parametrize(
    ("answer", "pieces", "code"),
    [
        (ScriptedAnswer(("One.", " Tw"), finish=None), ["One.", " Tw"], "cut_short"),
        (ScriptedAnswer(("One.", " Tw"), finish="length"), ["One.", " Tw"], "cut_short"),
        (ScriptedAnswer(("One.",), finish="content_filter"), ["One."], "filtered"),
        (ScriptedAnswer(status=400, error_code="content_filter"), [], "filtered"),
        (ScriptedAnswer(status=429), [], "rate_limited"),
        (ScriptedAnswer(status=401), [], "unauthorized"),
        (ScriptedAnswer(status=404), [], "not_found"),
        (ScriptedAnswer(status=500), [], "dependency_down"),
    ],
)
async def test_a_failure_has_its_own_code_and_keeps_what_was_generated(
    server: FakeLlmServer, answer: ScriptedAnswer, pieces: list[str], code: str
) -> None:
    server.answer = answer
    async with connect(server) as client:
        received, error = await read_until_failure(client)
    assert (received, error.code) == (pieces, code)


@pytest.mark.parametrize(
    ("hang_before", "limits", "code"),
    [
        (0, {"first_token_ms": 1}, "timed_out"),
        (2, {"stall_ms": 1}, "stalled"),
        (2, {"answer_ms": 300}, "timed_out"),
    ],
)
async def test_a_model_that_hangs_is_given_up(
    server: FakeLlmServer, hang_before: int, limits: dict[str, Any], code: str
) -> None:
    server.answer.hang_before = hang_before
    async with connect(server, **limits) as client:
        _, error = await read_until_failure(client)
    assert error.code in {code, "timed_out"}  # a limit of 1 ms may end the wait for the first token


async def test_the_key_is_not_in_the_message(server: FakeLlmServer) -> None:
    async with connect(server, key="wrong-key") as client:
        _, error = await read_until_failure(client)
    assert error.code == "unauthorized"
    assert "wrong-key" not in str(error)


async def test_nothing_is_asked_until_retry_after_has_passed() -> None:
    server = FakeLlmServer(script=[ScriptedAnswer(status=429, retry_after="20")])
    now_s = 0.0
    async with connect(server, clock=lambda: now_s) as client:
        first = (await read_until_failure(client))[1]
        second = (await read_until_failure(client))[1]
        assert (first.code, second.code, second.retry_after_s) == ("rate_limited",) * 2 + (21,)
        assert server.requests == []
        now_s = 21.0
        assert await read(client) == ["Paris", " is the capital", " of France."]


async def test_a_server_that_is_not_there_is_down() -> None:
    client = make_client(f"http://127.0.0.1:{find_free_port()}/v1", provider="openai")
    _, error = await read_until_failure(client)
    assert error.code == "dependency_down"
    await client.aclose()


async def test_readiness_needs_a_token_of_the_configured_model(server: FakeLlmServer) -> None:
    async with connect(server, model="no-such-model") as client:
        with pytest.raises(LlmFailed) as caught:
            await client.ready()
    assert caught.value.code == "not_found"


async def test_readiness_asks_seldom_and_again_after_a_failure() -> None:
    server = FakeLlmServer()
    now_s = 0.0
    async with connect(server, clock=lambda: now_s) as client:
        await client.ready()
        await client.ready()
        assert len(server.requests) == 1
        server.script = [ScriptedAnswer(status=500)]
        await read_until_failure(client)
        await client.ready()
        assert len(server.requests) == 2
        now_s = 301.0
        await client.ready()
        assert len(server.requests) == 3


async def test_a_model_with_the_newer_name_of_the_limit_is_asked_with_it() -> None:
    refusal = ScriptedAnswer(status=400, error_code="max_tokens is not supported")
    server = FakeLlmServer(script=[refusal])
    async with connect(server) as client:
        await client.ready()
        await read(client)
    assert ["max_completion_tokens" in request for request in server.requests] == [True, True]


async def test_what_is_sent_is_counted_by_kind() -> None:
    sent: list[Mapping[str, int]] = []
    async with connect(FakeLlmServer(), on_sent=sent.append) as client:
        await read(client)
    assert sent == [{"sentence": 17}]


async def test_importing_the_client_does_not_import_the_sdk() -> None:
    code = "import sys, barnabee.clients.llm; sys.exit('openai' in sys.modules)"
    import sys  # noqa: PLC0415 - only here

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert await process.wait() == 0

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from barnabee.clients.llm import ANSWER_MAX_CHARS, AzureDeployment, AzureModel, make_messages
from barnabee.core.errors import DependencyDown, TimedOut
from barnabee.store.sessions import Exchange
from barnabee.testing.llm import FakeAzureOpenAI
from support.asgi_server import serve_app
from support.wait import find_free_port

HISTORY = [Exchange("what time is it", "It's noon.", "time")]


@pytest.fixture
def azure() -> FakeAzureOpenAI:
    return FakeAzureOpenAI()


@pytest.fixture
async def address(azure: FakeAzureOpenAI) -> AsyncIterator[str]:
    async with serve_app(azure.make_app()) as url:
        yield url


def model(url: str, *, key: str = "azure-key", **options: float) -> AzureModel:
    return AzureModel(AzureDeployment(url, "family", "2024-10-21", key), **options)  # type: ignore[arg-type]


async def test_answer_is_joined_and_its_first_token_timed(
    azure: FakeAzureOpenAI, address: str
) -> None:
    client = model(address)
    answer = await client.answer("what is the capital of france", HISTORY)
    assert answer.text == "Paris is the capital of France."
    assert 0 < answer.first_token_ms < 10_000
    assert azure.requests[0]["stream"] is True
    assert azure.requests[0]["messages"][1:] == [
        {"role": "user", "content": "what time is it"},
        {"role": "assistant", "content": "It's noon."},
        {"role": "user", "content": "what is the capital of france"},
    ]
    await client.aclose()


async def test_pieces_are_yielded_as_they_arrive(azure: FakeAzureOpenAI, address: str) -> None:
    azure.hang_before = 1
    client = model(address)
    stream = client.stream("hello", [])
    assert await anext(stream) == "Paris"
    await stream.aclose()
    await client.aclose()


@pytest.mark.parametrize("hang_before", [0, 2])
async def test_stalled_stream_times_out(
    azure: FakeAzureOpenAI, address: str, hang_before: int
) -> None:
    azure.hang_before = hang_before
    client = model(address, first_token_timeout_s=0.5, timeout_s=0.6)
    await client._get_client()  # import the SDK before the time limit starts
    with pytest.raises(TimedOut):
        await client.answer("hello", [])
    await client.aclose()


async def test_endless_answer_is_cut_after_a_sentence(azure: FakeAzureOpenAI, address: str) -> None:
    azure.chunks = ["This goes on and on. "] * 500
    client = model(address)
    answer = await client.answer("hello", [])
    assert len(answer.text) <= ANSWER_MAX_CHARS
    assert answer.text.endswith("on and on.")
    await client.aclose()


@pytest.mark.parametrize(
    ("key", "status", "reason"), [("bad", 200, "401"), ("azure-key", 404, "404")]
)
async def test_refusal_is_reported_without_the_key(
    azure: FakeAzureOpenAI, address: str, key: str, status: int, reason: str
) -> None:
    azure.status = status
    client = model(address, key=key)
    with pytest.raises(DependencyDown, match=reason) as caught:
        await client.answer("hello", [])
    assert key not in str(caught.value)
    await client.aclose()


async def test_unreachable_endpoint_is_dependency_down() -> None:
    client = model(f"http://127.0.0.1:{find_free_port()}")
    with pytest.raises(DependencyDown, match="APIConnectionError"):
        await client.answer("hello", [])
    await client.aclose()


async def test_readiness_detects_a_revoked_key(azure: FakeAzureOpenAI, address: str) -> None:
    client = AzureModel(AzureDeployment(address, "family", "2024-10-21", "azure-key"))
    await client.ready()
    azure.key = "changed"
    with pytest.raises(DependencyDown, match="401"):
        await client.ready()
    await client.aclose()


async def test_endpoint_without_model_list_is_ready(azure: FakeAzureOpenAI, address: str) -> None:
    azure.status = 404
    client = model(address)
    await client.ready()
    await client.aclose()


async def test_importing_the_client_does_not_import_the_sdk() -> None:
    code = "import sys, barnabee.clients.llm; sys.exit('openai' in sys.modules)"
    import sys  # noqa: PLC0415 - only here

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert await process.wait() == 0


def test_only_the_last_exchanges_are_sent() -> None:
    history = [Exchange(f"u{number}", f"r{number}", "chat") for number in range(20)]
    chat = make_messages("now", history)
    assert [message["content"] for message in chat[1:3]] == ["u12", "r12"]
    assert chat[-1] == {"role": "user", "content": "now"}
    assert len(chat) == 1 + 2 * 8 + 1

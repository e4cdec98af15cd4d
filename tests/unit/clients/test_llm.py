from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from barnabee.clients.llm import ANSWER_MAX_CHARS, AzureModel, Deployment, messages
from barnabee.core.errors import DependencyDown, TimedOut
from barnabee.store.sessions import Exchange
from barnabee.testing.llm import FakeAzure
from support.serve import served
from support.wait import free_port

HISTORY = [Exchange("what time is it", "It's noon.", "time")]


@pytest.fixture
def azure() -> FakeAzure:
    return FakeAzure()


@pytest.fixture
async def address(azure: FakeAzure) -> AsyncIterator[str]:
    async with served(azure.service()) as url:
        yield url


def model(url: str, *, key: str = "azure-key", **options: float) -> AzureModel:
    return AzureModel(Deployment(url, "family", "2024-10-21", key), **options)  # type: ignore[arg-type]


async def test_an_answer_is_put_together_and_its_first_word_is_timed(
    azure: FakeAzure, address: str
) -> None:
    client = model(address)
    answer = await client.answer("what is the capital of france", HISTORY)
    assert answer.text == "Paris is the capital of France."
    assert 0 < answer.first_token_ms < 10_000
    assert azure.asked[0]["stream"] is True
    assert azure.asked[0]["messages"][1:] == [
        {"role": "user", "content": "what time is it"},
        {"role": "assistant", "content": "It's noon."},
        {"role": "user", "content": "what is the capital of france"},
    ]
    await client.aclose()


async def test_pieces_come_as_they_are_made(azure: FakeAzure, address: str) -> None:
    azure.hang_before = 1
    client = model(address)
    stream = client.stream("hello", [])
    assert await anext(stream) == "Paris"
    await stream.aclose()
    await client.aclose()


@pytest.mark.parametrize("hang_before", [0, 2])
async def test_a_model_that_stops_talking_is_given_up(
    azure: FakeAzure, address: str, hang_before: int
) -> None:
    azure.hang_before = hang_before
    client = model(address, first_token_timeout_s=0.5, timeout_s=0.6)
    await client._connected()  # the import is not part of the wait
    with pytest.raises(TimedOut):
        await client.answer("hello", [])
    await client.aclose()


async def test_an_endless_answer_is_cut_at_a_sentence(azure: FakeAzure, address: str) -> None:
    azure.pieces = ["This goes on and on. "] * 500
    client = model(address)
    answer = await client.answer("hello", [])
    assert len(answer.text) <= ANSWER_MAX_CHARS
    assert answer.text.endswith("on and on.")
    await client.aclose()


@pytest.mark.parametrize(
    ("key", "status", "reason"), [("bad", 200, "401"), ("azure-key", 404, "404")]
)
async def test_a_refusal_is_named_without_the_key(
    azure: FakeAzure, address: str, key: str, status: int, reason: str
) -> None:
    azure.status = status
    client = model(address, key=key)
    with pytest.raises(DependencyDown, match=reason) as caught:
        await client.answer("hello", [])
    assert key not in str(caught.value)
    await client.aclose()


async def test_nobody_there_is_a_dependency_down() -> None:
    client = model(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(DependencyDown, match="APIConnectionError"):
        await client.answer("hello", [])
    await client.aclose()


async def test_health_sees_a_key_that_is_no_longer_taken(azure: FakeAzure, address: str) -> None:
    client = AzureModel(Deployment(address, "family", "2024-10-21", "azure-key"))
    await client.ready()
    azure.key = "changed"
    with pytest.raises(DependencyDown, match="401"):
        await client.ready()
    await client.aclose()


async def test_models_that_may_not_be_listed_are_no_trouble(azure: FakeAzure, address: str) -> None:
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
    told = messages("now", history)
    assert [one["content"] for one in told[1:3]] == ["u12", "r12"]
    assert told[-1] == {"role": "user", "content": "now"}
    assert len(told) == 1 + 2 * 8 + 1

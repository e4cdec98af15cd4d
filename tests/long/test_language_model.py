"""The language model behind the real api: streaming, leaving, acting; and a real small model."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest

from barnabee.clients.api import ApiClient
from barnabee.clients.llm import LlmClient
from barnabee.core.errors import BarnabeeError
from barnabee.core.system import get_system
from barnabee.testing import engines
from barnabee.testing.llm import FakeLlmServer, ScriptedAnswer
from barnabee.understanding.model_turn import ask_model
from barnabee.up import local_llm, paths
from support.api import TOKEN, ApiProcess
from support.asgi_server import serve_app
from support.language_model import RecordedSink, make_context
from support.redis import RedisServer
from support.wait import eventually, find_free_port

STORY = "Please tell me a story about zebras"


@asynccontextmanager
async def run_api(
    directory: Path,
    redis: RedisServer,
    server: FakeLlmServer,
    *,
    model: str = "family",
    unhealthy: tuple[str, ...] = (),
) -> AsyncIterator[tuple[ApiProcess, ApiClient]]:
    async with serve_app(server.make_app()) as url, serve_app(engines.make_gpu_app()) as gpu_url:
        process = ApiProcess(
            directory / "api",
            redis.url,
            environment={
                "GPU_SERVICE_URL": gpu_url,
                "LLM_PROVIDER": "openai",
                "LLM_URL": f"{url}/v1",
                "LLM_MODEL": model,
            },
        )
        process.credentials.mkdir(parents=True)
        (process.credentials / "llm_api_key").write_text(server.key, encoding="utf-8")
        process.start()
        await process.wait_until_unhealthy(*unhealthy)
        client = ApiClient(process.url, TOKEN, timeout_s=120)
        try:
            yield process, client
        finally:
            await client.aclose()
            process.kill()


async def test_a_sentence_is_spoken_before_the_answer_is_complete(
    tmp_path: Path, redis_server: RedisServer
) -> None:
    server = FakeLlmServer(answer=ScriptedAnswer(("First one.", " And two."), hang_before=1))
    async with run_api(tmp_path, redis_server, server) as (process, client):
        spoken = asyncio.Queue[str]()
        asking = asyncio.create_task(client.command(STORY, "s", on_sentence=spoken.put))
        assert await spoken.get() == "First one."
        asking.cancel()
        async with asyncio.timeout(60):
            await server.left.wait()
        await asyncio.gather(asking, return_exceptions=True)
        server.answer = ScriptedAnswer(("Gladly.",))
        answer = await client.command("Please go on about zebras", "s", on_sentence=spoken.put)
        assert answer.reply == "Gladly."
    history = [message["content"] for message in server.requests[-1]["messages"]]
    assert "First one." in history  # what was said until the user interrupted
    sent = process.read_log("llm_request")[-1]
    assert sent["characters"]["sentence"] == len("go on about zebras")
    assert "zebra" not in process.log
    assert server.key not in process.log


async def test_a_wrong_model_name_is_red(tmp_path: Path, redis_server: RedisServer) -> None:
    server = FakeLlmServer()
    async with run_api(tmp_path, redis_server, server, model="wrong", unhealthy=("llm",)) as (
        process,
        client,
    ):

        async def says_why() -> bool:
            check = (await process.health())["dependencies"]["llm"]
            return "404" in check["message"]

        await eventually(says_why)
        answer = await client.command(STORY, "s")
    assert (answer.code, answer.degraded) == ("not_found", ["llm"])


@asynccontextmanager
async def run_small_model() -> AsyncIterator[LlmClient]:
    models = paths.models_directory()
    if not all((models / folder / "manifest.json").is_file() for folder in local_llm.FOLDERS):
        pytest.skip("the small language model is not fetched: ./barnabee up --llm")
    port = find_free_port()
    server = subprocess.Popen(
        local_llm.make_arguments(models, port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    given = {"provider": "openai", "first_token_ms": 120_000, "stall_ms": 120_000}
    given |= {"url": f"http://127.0.0.1:{port}/v1", "model": local_llm.MODEL, "answer_ms": 300_000}
    client = LlmClient(get_system().llm.model_copy(update=given), None)

    async def is_up() -> bool:
        try:
            await client.ready()
        except BarnabeeError:
            return False
        return True

    try:
        await eventually(is_up)
        yield client
    finally:
        await client.aclose()
        server.terminate()
        server.wait()


async def test_a_real_small_model_answers_in_sentences() -> None:
    async with run_small_model() as client:
        sink = RecordedSink()
        text = "What is the capital of France?"
        reply = await ask_model(client, text, make_context(), (), None, sink)
        assert "Paris" in reply.text
        assert " ".join(sink.sentences) == reply.text
        async with httpx.AsyncClient() as http:
            url = str(client._config.url).removesuffix("/v1")
            assert (await http.get(f"{url}/health")).status_code == 200

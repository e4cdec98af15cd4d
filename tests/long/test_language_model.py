"""The language model behind the real api: streaming, leaving, acting; and a real small model."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from barnabee.clients.api import ApiClient
from barnabee.clients.llm import LlmClient
from barnabee.core.system import get_system
from barnabee.understanding.model_turn import ask_model
from barnabee.up import model_pins, paths
from support import fake_engines
from support.api import TOKEN, ApiProcess
from support.asgi_server import serve_app
from support.fake_llm import FakeLlmServer, ScriptedAnswer
from support.gpu import TOKEN as GPU_TOKEN
from support.gpu import GpuProcess
from support.language_model import RecordedSink, make_context
from support.redis import RedisServer
from support.wait import eventually

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
    async with (
        serve_app(server.make_app()) as url,
        serve_app(fake_engines.make_gpu_app()) as gpu_url,
    ):
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


@contextmanager
def run_gpu_service(directory: Path) -> Iterator[GpuProcess]:
    """Run the service with the small model, in memory that holds it or a second STT model."""
    models = paths.models_directory()
    if not all((models / folder / "manifest.json").is_file() for folder in model_pins.FOLDERS):
        pytest.skip("the small language model is not fetched: ./barnabee up --llm")

    def change(graph: dict[str, Any]) -> None:
        graph["model"]["second"] = graph["model"]["whisper"] | {"priority": 4, "vram_peak_mib": 512}
        graph["model"] |= tomllib.loads(model_pins.TABLE)["model"]
        graph["service"]["gpu"]["memory_max_mib"] = 3400

    settings = model_pins.make_settings(models)
    settings["LLAMA_ARG_TOP_K"] = "1"  # the same answer each time
    service = GpuProcess(directory, models, change=change, environment=settings).start()
    try:
        service.wait_for("/health/ready")
        yield service
    finally:
        service.stop()


async def test_a_real_small_model_answers_is_evicted_and_answers_again(tmp_path: Path) -> None:
    with run_gpu_service(tmp_path) as service, service.client() as http:
        given = {"provider": "gpu", "url": f"{service.url}/v1", "model": "local"}
        patience = {"first_token_ms": 120_000, "stall_ms": 120_000, "answer_ms": 300_000}
        client = LlmClient(get_system().llm.model_copy(update=given | patience), GPU_TOKEN)

        async def ask() -> None:
            sink = RecordedSink()
            text = "What is the capital of France?"
            reply = await ask_model(client, text, make_context(), (), None, sink)
            assert "Paris" in reply.text
            assert " ".join(sink.sentences) == reply.text

        def read_state() -> str:
            return str(http.get("/v1/models/llm").json()["state"])

        assert read_state() == "absent"
        await ask()
        assert read_state() == "ready"
        http.post("/v1/models/second/load").raise_for_status()
        assert read_state() == "absent"
        http.post("/v1/models/second/unload").raise_for_status()
        await ask()
        decisions = [
            one["decision"]
            for one in http.get("/v1/vram").json()["decisions"]
            if one["model"] == "llm"
        ]
        await client.aclose()
    assert decisions == ["load", "loaded", "evict", "unloaded", "load", "loaded"]

"""The language model in the VRAM ledger: loaded on request, evicted between its answers."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from barnabee.audio import wav
from barnabee.core.errors import Misconfigured
from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.llama_server import LlamaServer, ServerOptions
from barnabee.gpu.model_runtime import RuntimeState
from support import fake_llama_server
from support.asgi_server import serve_app
from support.fake_engines import FakeTranscriber
from support.gpu_app import TOKEN, RunningService, ServiceStarter
from support.wait import LAST_RESORT_S, wait_until

ANSWER = b"data: first\n\ndata: Paris\n\n"
# Fits beside the preloaded models, but not beside the fallback as well.
PEAK_MIB = 1500


@pytest.fixture
def options(tmp_path: Path) -> ServerOptions:
    program = tmp_path / "llama-server"
    command = f'exec {sys.executable} {fake_llama_server.__file__} "$@"'
    program.write_text(f"#!/bin/sh\n{command}\n", encoding="utf-8")
    program.chmod(0o755)
    return ServerOptions(str(program), 512, Device(), set())


@pytest.fixture
def model(tmp_path: Path) -> Path:
    file = tmp_path / "small.gguf"
    file.write_text("Paris", encoding="utf-8")
    return file


async def start_service(
    start: ServiceStarter, model: Path, options: ServerOptions, peak_mib: int = PEAK_MIB
) -> RunningService:
    """Start the inference service with the language model and a fallback for transcription."""

    def load(children: set[subprocess.Popen[bytes]]) -> LlamaServer:
        return LlamaServer.load(model, replace(options, children=children))

    return await start(fallback=FakeTranscriber, llm=load, llm_mib=peak_mib)


@pytest.fixture
async def service(start: ServiceStarter, model: Path, options: ServerOptions) -> RunningService:
    return await start_service(start, model, options)


def read_state(service: RunningService) -> RuntimeState:
    return service.capabilities.manager.runtimes["llm"].state


def is_leased(service: RunningService) -> bool:
    leases = service.capabilities.manager.ledger.leases.values()
    return any(lease.model == "llm" for lease in leases)


def make_body(question: str = "?", model: str = "local") -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": question}]}


async def ask(service: RunningService, **body: str) -> httpx.Response:
    return await service.client.post("/v1/chat/completions", json=make_body(**body))


async def ask_code(service: RunningService, **body: str) -> tuple[int, str]:
    response = await ask(service, **body)
    return response.status_code, response.json()["code"]


async def use_fallback(service: RunningService) -> httpx.Response:
    files = {"file": ("a.wav", wav.encode(bytes(32_000), 16_000))}
    return await service.client.post(
        "/v1/audio/transcriptions", data={"model": "whisper"}, files=files
    )


@asynccontextmanager
async def hold_answer(fifo: Path) -> AsyncIterator[Callable[[], object]]:
    """Make `fifo` a question whose answer stops in the middle; yield what lets it continue."""
    os.mkfifo(fifo)
    writer = os.open(fifo, os.O_RDWR)
    try:
        yield lambda: os.write(writer, b"\n")
    finally:
        os.close(writer)


async def test_it_is_loaded_for_the_first_question(service: RunningService) -> None:
    assert read_state(service) is RuntimeState.ABSENT
    response = await ask(service)
    assert (response.status_code, response.content) == (200, ANSWER)
    assert response.headers["content-type"] == "text/event-stream"
    assert read_state(service) is RuntimeState.READY
    listed = (await service.client.get("/v1/models")).json()["data"]
    assert listed[-1]["task"] == "llm"
    metrics = (await service.client.get("/metrics")).text
    assert 'barnabee_inference_seconds_count{engine="small",task="llm"} 1.0' in metrics


async def test_the_service_is_ready_without_it(service: RunningService) -> None:
    health = (await service.client.get("/health")).json()
    assert health["status"] == "healthy"
    assert "llm" not in health["dependencies"]


async def test_a_speech_model_evicts_it_and_the_next_question_loads_it_again(
    service: RunningService,
) -> None:
    await ask(service)
    (server,) = service.memory.children
    assert (await use_fallback(service)).status_code == 200
    assert read_state(service) is RuntimeState.ABSENT
    assert (server.poll(), service.memory.children) == (-9, set())
    assert await ask_code(service) == (503, "vram_kept")  # never evicts a speech model
    await service.client.post("/v1/models/whisper/unload")
    assert (await ask(service)).content == ANSWER


async def test_it_is_not_evicted_during_its_answer(service: RunningService, tmp_path: Path) -> None:
    async with hold_answer(tmp_path / "fifo") as release:
        asking = asyncio.create_task(ask(service, question=str(tmp_path / "fifo")))
        await wait_until(lambda: is_leased(service))
        transcribing = asyncio.create_task(use_fallback(service))
        waiting = service.capabilities.manager.ledger.waiting
        await wait_until(lambda: bool(waiting))
        unloading = await service.client.post("/v1/models/llm/unload")
        assert (unloading.status_code, unloading.json()["code"]) == (409, "model_in_use")
        assert read_state(service) is RuntimeState.READY
        release()
        assert (await asking).content == ANSWER
    assert (await transcribing).status_code == 200
    assert read_state(service) is RuntimeState.ABSENT


async def test_an_answer_is_streamed_and_ends_with_its_client(
    service: RunningService, tmp_path: Path
) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        hold_answer(tmp_path / "fifo"),
        serve_app(service.running.app, lifespan="off") as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=LAST_RESORT_S) as client,
    ):
        body = make_body(str(tmp_path / "fifo"))
        async with client.stream("POST", "/v1/chat/completions", json=body) as response:
            assert await anext(response.aiter_raw()) == b"data: first\n\n"
            assert is_leased(service)
        await wait_until(lambda: not is_leased(service))
    assert read_state(service) is RuntimeState.READY


async def test_a_dead_server_is_one_error_and_then_started_again(service: RunningService) -> None:
    await ask(service)
    (server,) = service.memory.children
    server.kill()
    server.wait()
    response = await ask(service)
    assert (response.status_code, response.json()["code"]) == (503, "dependency_down")
    assert response.json()["message"].startswith("small does not answer")
    assert (await ask(service)).content == ANSWER


async def test_an_answer_is_cut_when_the_server_dies(service: RunningService) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        serve_app(service.running.app, lifespan="off") as url,
        httpx.AsyncClient(base_url=url, headers=headers, timeout=LAST_RESORT_S) as client,
    ):
        with pytest.raises(httpx.RemoteProtocolError):
            await client.post("/v1/chat/completions", json=make_body("die"))
    assert (await ask(service)).content == ANSWER


@pytest.mark.parametrize(
    ("content", "reason"),
    [("broken", "status 1: error: this is no model"), ("refused", "500 Internal Server Error")],
)
async def test_a_model_that_does_not_load_says_why(
    start: ServiceStarter, model: Path, options: ServerOptions, content: str, reason: str
) -> None:
    model.write_text(content, encoding="utf-8")
    service = await start_service(start, model, options)
    response = await ask(service)
    assert (response.status_code, response.json()["code"]) == (503, "dependency_down")
    assert reason in response.json()["message"]
    assert service.memory.children == set()


async def test_a_model_that_never_fits_is_refused(
    start: ServiceStarter, model: Path, options: ServerOptions
) -> None:
    service = await start_service(start, model, options, peak_mib=10_000)
    assert await ask_code(service) == (503, "vram_too_large")


async def test_what_does_not_exist_is_not_found(
    start: ServiceStarter, model: Path, options: ServerOptions
) -> None:
    assert await ask_code(await start()) == (404, "not_found")
    service = await start_service(start, model, options)
    assert await ask_code(service, model="tts-1") == (404, "not_found")


async def test_its_server_ends_with_the_service(model: Path, options: ServerOptions) -> None:
    async with AsyncExitStack() as stack:
        service = await start_service(ServiceStarter(stack), model, options)
        await ask(service)
        (server,) = service.memory.children
    assert await asyncio.to_thread(server.wait) == -9


def test_a_missing_program_or_file_is_named(model: Path, options: ServerOptions) -> None:
    with pytest.raises(Misconfigured, match="BARNABEE_LLAMA_SERVER"):
        LlamaServer.load(model, replace(options, program="no-such-server"))
    with pytest.raises(Misconfigured, match=r"missing\.gguf does not exist"):
        LlamaServer.load(model.with_name("missing.gguf"), options)

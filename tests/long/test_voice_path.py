"""Voice path probe and turn traces with a real api, worker and CLI, and fake engines."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from barnabee.clients.api import StageTiming, TurnReport, send_turn_report
from support import fake_engines as fakes
from support.api import TOKEN, ApiProcess
from support.asgi_server import serve_app
from support.redis import RedisServer
from support.voice_path import make_tone
from support.wait import eventually
from support.worker import WorkerProcess

ROOT = Path(__file__).resolve().parents[2]
TRACE = "0af7651916cd43dd8448eb211c80319c"


@dataclass
class Engines:
    """Fake inference service with a scripted transcript and speech."""

    transcript: str = "What time is it?"
    speech: bytes = field(default_factory=lambda: make_tone(1.5))
    url: str = ""

    def service(self) -> Starlette:
        async def transcribe(request: Request) -> Response:
            async with request.form() as form:
                assert "file" in form
            return JSONResponse({"text": self.transcript, "duration": 1.6, "engine": "fake"})

        async def speak(_request: Request) -> Response:
            return Response(self.speech)

        post = ["POST"]
        routes = [
            Route("/v1/audio/transcriptions", transcribe, methods=post),
            Route("/v1/audio/speech", speak, methods=post),
        ]
        return Starlette(routes=[*fakes.make_gpu_app().routes, *routes])


@pytest.fixture
async def engines() -> AsyncIterator[Engines]:
    fake = Engines()
    async with serve_app(fake.service()) as url:
        fake.url = url
        yield fake


@pytest.fixture
async def api(
    tmp_path: Path, redis_server: RedisServer, engines: Engines
) -> AsyncIterator[ApiProcess]:
    process = ApiProcess(
        tmp_path / "api", redis_server.url, environment={"GPU_SERVICE_URL": engines.url}
    ).start()
    await process.wait_until_unhealthy()
    yield process
    process.kill()


async def cli(
    api: ApiProcess, engines: Engines, *arguments: str
) -> subprocess.CompletedProcess[str]:
    """Run `barnabee …` with the environment of a unit; its log file is the output of the api."""
    home = api.directory / "home"
    (home / "logs").mkdir(parents=True, exist_ok=True)
    (home / "logs" / "barnabee.jsonl").write_text(api.log, encoding="utf-8")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "BARNABEE_HOME": str(home),
        "BARNABEE_SYSTEM": str(api.directory / "system.toml"),
        "CREDENTIALS_DIRECTORY": str(api.credentials),
        "API_URL": api.url,
        "GPU_SERVICE_URL": engines.url,
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "barnabee", *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def count_turns(api: ApiProcess) -> int:
    with closing(sqlite3.connect(api.data / "barnabee.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM turns").fetchone()[0])


async def test_worker_probe_names_the_failing_stage_and_leaves_no_turn(
    api: ApiProcess, engines: Engines, redis_server: RedisServer, tmp_path: Path
) -> None:
    worker = WorkerProcess(
        tmp_path / "worker",
        redis_server.url,
        api.data,
        probe_every_s=1,
        environment={"API_URL": api.url, "GPU_SERVICE_URL": engines.url},
        token=TOKEN,
    )
    worker.start()
    try:
        await worker.wait_for_health("healthy")
        assert "barnabee_probe_success 1.0" in await worker.metrics()
        print(f"worker with probes: {worker.resident_mib():.0f} MiB")
        assert worker.resident_mib() <= 120
        engines.speech = bytes(len(engines.speech))
        health = await worker.wait_for_health("degraded")
        found = health["dependencies"]["voice_path"]
        assert (found["status"], found["code"]) == ("degraded", "speech_silent")
        assert "speak" in found["message"]
        metrics = await worker.metrics()
        assert 'barnabee_probe_failures_total{code="speech_silent",stage="speak"}' in metrics
        assert "barnabee_probe_success 0.0" in metrics
        engines.speech = make_tone(1.5)
        await worker.wait_for_health("healthy")
    finally:
        worker.clean_up()
    assert count_turns(api) == 0
    with closing(redis.Redis.from_url(redis_server.url)) as link:
        assert list(link.keys("barnabee:session:*")) == []


async def test_probe_command_reports_success_and_failures_by_stage(
    api: ApiProcess, engines: Engines
) -> None:
    good = await cli(api, engines, "probe", "--json")
    assert good.returncode == 0, good.stderr
    result = json.loads(good.stdout)
    assert (result["success"], result["intent"], result["heard"]) == (
        True,
        "time",
        engines.transcript,
    )
    engines.transcript = "turn on the light"
    bad = await cli(api, engines, "probe")
    assert bad.returncode == 1
    assert "failed at `hear`" in bad.stderr
    assert "[misheard]" in bad.stderr
    engines.transcript = "What time is it?"
    assert api.stop() == 0
    down = await cli(api, engines, "probe", "--json")
    assert (down.returncode, json.loads(down.stdout)["stage"]) == (1, "command")
    assert "[dependency_down]" in down.stderr


async def test_trace_combines_the_turn_record_and_the_log(
    api: ApiProcess, engines: Engines, redis_server: RedisServer
) -> None:
    empty = await cli(api, engines, "trace")
    assert (empty.returncode, "no turn yet" in empty.stderr) == (2, True)
    redis_server.kill()  # so that the turn is written directly
    async with api.client() as client:
        turn = await _ask(client)
        stages = {"vad": StageTiming(0.0, 210.0), "stt": StageTiming(210.0, 900.0)}
        await send_turn_report(
            client, TurnReport(TRACE, "kitchen", turn["created_at"], stages, "fake")
        )

    async def find_request_lines() -> object:
        return [line for line in api.read_log("request") if line["trace_id"] == TRACE]

    await eventually(find_request_lines)
    shown = await cli(api, engines, "trace")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.startswith(f"turn {TRACE}")
    assert "over its budget of 500 ms" in shown.stdout
    assert "error api: sessions_in_memory" in shown.stdout
    found = json.loads((await cli(api, engines, "trace", TRACE, "--json")).stdout)
    names = {(stage["service"], stage["stage"]) for stage in found["stages"]}
    assert {("voice", "stt"), ("voice", "vad"), ("api", "intent")} <= names
    unknown = await cli(api, engines, "trace", "f" * 32)
    assert (unknown.returncode, "[not_found]" in unknown.stderr) == (2, True)


async def _ask(client: httpx.AsyncClient) -> dict[str, Any]:
    headers = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    body = {"utterance": "what time is it"}
    answer = await client.post("/v1/command", json=body, headers=headers)
    assert answer.status_code == 200, answer.text
    turn: dict[str, Any] = (await client.get(f"/v1/turns/{TRACE}")).json()
    return turn

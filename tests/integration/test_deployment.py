"""Deployment of all real services: health, replies, traces and a clean end."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from barnabee.clients.gpu import GpuClient
from barnabee.up import orphans
from support.deployment import Deployment
from support.wait import eventually

AUDIO = Path(__file__).resolve().parents[1] / "audio"

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.clean_up()


def test_all_services_are_healthy(deployment: Deployment) -> None:
    report = json.loads(deployment.run_cli("health", "--json").stdout)
    assert report["good"] is True, report


async def test_a_sentence_switches_the_light_in_home_assistant(deployment: Deployment) -> None:
    for word in ("on", "off", "on"):
        done = deployment.run_cli("say", f"turn {word} the kitchen light")
        assert done.returncode == 0, done.stderr
        assert await deployment.read_light_state() == word


async def test_a_spoken_question_gets_a_spoken_answer(
    deployment: Deployment, tmp_path: Path
) -> None:
    reply = tmp_path / "reply.wav"
    question = AUDIO / "what_can_you_do_af_heart.wav"
    done = deployment.run_cli("say", "--wav", str(question), "--out", str(reply))
    assert done.returncode == 0, done.stdout + done.stderr
    client = GpuClient(deployment.url("gpu"), deployment.token, timeout_s=30)
    transcript = (await client.transcribe(reply.read_bytes())).text.lower()
    await client.aclose()
    reply_line = next(line for line in done.stdout.splitlines() if line.startswith("reply:"))
    assert "what can you do" in done.stdout.lower()
    assert _words(transcript) == _words(reply_line.removeprefix("reply:"))


async def test_one_trace_id_is_in_log_database_and_response(
    deployment: Deployment,
) -> None:
    answer = await deployment.send_command("what day is it")
    trace_id = answer["trace_id"]

    async def everywhere() -> bool:
        lines = deployment.run_cli("logs", "--trace", trace_id).stdout
        assert "api" in lines
        assert "worker" in lines
        async with deployment.client() as client:
            return (await client.get(f"/v1/turns/{trace_id}")).status_code == 200

    assert await eventually(everywhere, every_s=0.3)


async def test_two_hundred_concurrent_commands_are_answered(deployment: Deployment) -> None:
    async with deployment.client() as client:
        answers = await asyncio.gather(
            *(client.post("/v1/command", json={"utterance": "what time is it"}) for _ in range(200))
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["trace_id"] for answer in answers}) == 200


async def test_down_leaves_no_process_and_no_open_port(deployment: Deployment) -> None:
    deployment.stop()
    assert not orphans.find_processes(deployment.paths.run_id)
    listening = {
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert not listening & set(deployment.ports.values())


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())

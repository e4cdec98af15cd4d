"""Deployment of all real services: replies, recovery, and no loss of accepted turns."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from barnabee.clients.gpu import GpuClient
from barnabee.up import orphans
from support.deployment import KILLABLE_SERVICES, CommandLoop, Deployment
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


@pytest.mark.parametrize("name", KILLABLE_SERVICES)
async def test_a_killed_service_recovers_without_losing_a_turn(
    deployment: Deployment, name: str
) -> None:
    await deployment.wait_until_healthy()
    conversation = CommandLoop(deployment)
    talking = asyncio.create_task(conversation.run())
    try:
        await eventually(lambda: _has_accepted_turns(conversation))
        before = deployment.read_node(name).pid
        await deployment.kill_and_recover(name)
    finally:
        talking.cancel()
        with suppress(asyncio.CancelledError):
            await talking
    assert deployment.read_node(name).pid != before
    await conversation.wait_until_recorded()


async def test_an_outage_of_home_assistant_is_announced_and_ends(
    deployment: Deployment,
) -> None:
    await deployment.wait_until_healthy()
    deployment.kill("home")

    async def is_announced() -> bool:
        answer = await deployment.send_command("is the kitchen light on")
        return "home_assistant" in answer["degraded"] and "Home Assistant" in answer["reply"]

    await eventually(is_announced)
    await deployment.wait_until_healthy()
    await deployment.send_command("turn off the kitchen light")
    assert await deployment.read_light_state() == "off"


async def test_recorded_turns_survive_the_loss_of_the_database(
    deployment: Deployment,
) -> None:
    answer = await deployment.send_command("what time is it")
    conversation = CommandLoop(deployment, accepted=[answer["trace_id"]])
    await conversation.wait_until_recorded()
    deployment.stop()
    for file in filter(Path.is_file, deployment.paths.data.glob("barnabee.db*")):
        file.unlink()
    shutil.rmtree(deployment.paths.data / ".barnabee.db-litestream", ignore_errors=True)
    deployment.start()
    await conversation.wait_until_recorded()


async def test_backups_are_made_tested_and_reported_while_running(deployment: Deployment) -> None:
    await deployment.send_command("what time is it")
    made = deployment.run_cli("backup", "kit")
    assert made.returncode == 0, made.stderr
    secret = re.search(r"AGE-SECRET-KEY-1\S+", made.stdout)
    assert secret
    assert deployment.run_cli("backup", "kit").returncode == 2  # a key already exists
    for command in ("snapshot", "drill"):
        done = deployment.run_cli("backup", command)
        assert done.returncode == 0, done.stdout + done.stderr
    kit = deployment.directory / "kit.txt"
    kit.write_text(made.stdout)
    rehearsed = deployment.run_cli("restore", "--rehearse-recovery-kit", "--key", str(kit))
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert "intact and identical" in rehearsed.stdout
    kept = (path for path in deployment.paths.root.rglob("*") if path.is_file())
    assert not [path for path in kept if secret[0].encode() in path.read_bytes()]

    print(deployment.run_cli("backup", "status").stdout)
    found = json.loads(deployment.run_cli("backup", "status", "--json").stdout)
    assert found["drill"]["last"]["success"]
    assert found["snapshot"]["encrypted"]
    async with httpx.AsyncClient() as client:
        url, headers = (
            f"{deployment.url('api')}/v1/backups",
            {"Authorization": f"Bearer {deployment.token}"},
        )
        reported = (await client.get(url, headers=headers)).json()
        assert reported.keys() == found.keys()
        assert reported["drill"]["last"] == found["drill"]["last"]
        requested = await client.post(f"{url}/rehearse", headers=headers)
        assert requested.status_code == 202

        async def drilled() -> bool:
            now = (await client.get(url, headers=headers)).json()["drill"]
            return len(now["history"]) == 2 and not now["requested"]

        await eventually(drilled, within_s=60, every_s=1)
        metrics = (await client.get(f"{deployment.url('worker')}/metrics", headers=headers)).text
    assert "barnabee_backup_lag_transactions 0.0" in metrics


async def test_a_restore_stops_and_restarts_a_running_deployment(
    deployment: Deployment,
) -> None:
    answer = await deployment.send_command("what time is it")
    conversation = CommandLoop(deployment, accepted=[answer["trace_id"]])
    await conversation.wait_until_recorded()
    refused = deployment.run_cli("restore")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    deployment.run_cli("health", "--wait", "60")

    begun_s = time.monotonic()
    done = deployment.run_cli("restore", "--force")
    assert done.returncode == 0, done.stderr
    print(done.stderr, f"{time.monotonic() - begun_s:.1f} s until it starts again")
    assert deployment.run_cli("health", "--wait", "90").returncode == 0
    await conversation.wait_until_recorded()


async def test_a_damaged_database_is_kept_until_it_is_restored(
    deployment: Deployment,
) -> None:
    answer = await deployment.send_command("what time is it")
    conversation = CommandLoop(deployment, accepted=[answer["trace_id"]])
    await conversation.wait_until_recorded()
    deployment.stop()
    damaged = b"not a database any more" * 500
    for file in filter(Path.is_file, deployment.paths.data.glob("barnabee.db*")):
        file.unlink()  # the write-ahead log would repair the pages it contains
    deployment.paths.database.write_bytes(damaged)
    deployment.run_cli("up", "-d")
    try:
        health = deployment.run_cli("health", "--wait", "20")
        assert health.returncode != 0
        assert (
            "barnabee restore"
            in deployment.run_cli("status").stdout + health.stdout + health.stderr
        )
        assert deployment.paths.database.read_bytes() == damaged
    finally:
        deployment.stop()
    restored = deployment.run_cli("restore", "--force")
    assert restored.returncode == 0, restored.stdout + restored.stderr
    deployment.start()
    await conversation.wait_until_recorded()
    kept = [path for path in deployment.paths.data.rglob("*") if path.is_file()]
    assert any(path.read_bytes() == damaged for path in kept), "the damaged file was thrown away"


async def test_the_next_runner_ends_the_orphans_of_a_killed_one(
    deployment: Deployment,
) -> None:
    run = deployment.run_cli("status")
    assert run.returncode == 0
    before = {process.pid for process in orphans.find_processes(deployment.paths.run_id)}
    from barnabee.up import run_state  # noqa: PLC0415 - only here

    now = run_state.require_running(deployment.paths)
    psutil.Process(now.pid).kill()
    deployment.start()
    after = {process.pid for process in orphans.find_processes(deployment.paths.run_id)}
    assert not before & after


async def test_down_leaves_no_process_and_no_open_port(deployment: Deployment) -> None:
    deployment.stop()
    assert not orphans.find_processes(deployment.paths.run_id)
    listening = {
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert not listening & set(deployment.ports.values())


async def _has_accepted_turns(conversation: CommandLoop) -> bool:
    return len(conversation.accepted) >= 3


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())

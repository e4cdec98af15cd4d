"""Deployment of all real services: kills, outages, backup and restore; no accepted turn is lost."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import psutil
import pytest

from barnabee.up import orphans, run_state
from support.deployment import KILLABLE_SERVICES, CommandLoop, Deployment
from support.wait import eventually

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.clean_up()


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
    for command in ("snapshot", "drill"):
        done = deployment.run_cli("backup", command)
        assert done.returncode == 0, done.stdout + done.stderr
    kit = deployment.directory / "kit.txt"
    kit.write_text(made.stdout)
    rehearsed = deployment.run_cli("restore", "--rehearse-recovery-kit", "--key", str(kit))
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert "intact and identical" in rehearsed.stdout

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

        await eventually(drilled, every_s=1)
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
    assert deployment.read_node("home").phase == "ready", "started without --demo-home"
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
    now = run_state.require_running(deployment.paths)
    psutil.Process(now.pid).kill()
    deployment.start()
    after = {process.pid for process in orphans.find_processes(deployment.paths.run_id)}
    assert not before & after


async def _has_accepted_turns(conversation: CommandLoop) -> bool:
    return len(conversation.accepted) >= 3

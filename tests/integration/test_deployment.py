"""The whole deployment with real services: it answers, recovers, and loses no accepted turn."""

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
from support.deployment import Conversation, WholeHouse
from support.wait import eventually

AUDIO = Path(__file__).resolve().parents[1] / "audio"
DETECT_S, RECOVER_S = 5, 15
# Dependency names in the API's readiness report; other nodes are watched by the runner only.
API_DEPENDENCIES = {"redis": "redis", "gpu": "gpu", "worker": "worker", "home": "home_assistant"}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeHouse]:
    whole = WholeHouse(tmp_path_factory.mktemp("house"))
    try:
        whole.up()
        yield whole
    finally:
        whole.clean()


def test_all_services_are_healthy_within_the_specified_time(deployment: WholeHouse) -> None:
    report = json.loads(deployment.cli("health", "--json").stdout)
    print(f"all healthy after {report['healthy_s']:.1f} s")
    assert report["healthy_s"] <= 60, report


async def test_a_sentence_switches_the_light_in_home_assistant(deployment: WholeHouse) -> None:
    for word in ("on", "off", "on"):
        done = deployment.cli("say", f"turn {word} the kitchen light")
        assert done.returncode == 0, done.stderr
        assert await deployment.light() == word


async def test_a_spoken_question_gets_a_spoken_answer(
    deployment: WholeHouse, tmp_path: Path
) -> None:
    reply = tmp_path / "reply.wav"
    question = AUDIO / "what_can_you_do_af_heart.wav"
    done = deployment.cli("say", "--wav", str(question), "--out", str(reply))
    assert done.returncode == 0, done.stdout + done.stderr
    client = GpuClient(deployment.url("gpu"), deployment.token, timeout_s=30)
    transcript = (await client.transcribe(reply.read_bytes())).text.lower()
    await client.aclose()
    reply_line = next(line for line in done.stdout.splitlines() if line.startswith("reply:"))
    assert "what can you do" in done.stdout.lower()
    assert _words(transcript) == _words(reply_line.removeprefix("reply:"))


async def test_one_trace_id_is_in_log_database_and_response(
    deployment: WholeHouse,
) -> None:
    answer = await deployment.command("what day is it")
    trace_id = answer["trace_id"]

    async def everywhere() -> bool:
        lines = deployment.cli("logs", "--trace", trace_id).stdout
        assert "api" in lines
        assert "worker" in lines
        async with deployment.client() as client:
            return (await client.get(f"/v1/turns/{trace_id}")).status_code == 200

    assert await eventually(everywhere, within_s=10, every_s=0.3)


async def test_two_hundred_concurrent_commands_are_answered(deployment: WholeHouse) -> None:
    async with deployment.client() as client:
        answers = await asyncio.gather(
            *(client.post("/v1/command", json={"utterance": "what time is it"}) for _ in range(200))
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["trace_id"] for answer in answers}) == 200


@pytest.mark.parametrize(
    "name", ["redis", "api", "worker", "gpu", "voice", "litestream", "s3", "home"]
)
async def test_a_killed_service_recovers_without_losing_a_turn(
    deployment: WholeHouse, name: str
) -> None:
    await deployment.until_healthy(within_s=30)
    conversation = Conversation(deployment)
    talking = asyncio.create_task(conversation.talk())
    try:
        await eventually(lambda: _has_accepted_turns(conversation), within_s=10)
        begun = time.monotonic()
        killed = deployment.kill(name)
        await eventually(lambda: _is_noticed(deployment, name, killed), within_s=DETECT_S)
        noticed_s = time.monotonic() - begun
        await deployment.until_healthy(within_s=RECOVER_S - noticed_s)
        print(f"{name}: noticed {noticed_s:.1f} s, back {time.monotonic() - begun:.1f} s")
    finally:
        talking.cancel()
        with suppress(asyncio.CancelledError):
            await talking
    assert deployment.node(name).pid != killed
    await conversation.recorded()


async def test_an_outage_of_home_assistant_is_announced_and_ends(
    deployment: WholeHouse,
) -> None:
    await deployment.until_healthy(within_s=30)
    deployment.kill("home")

    async def is_announced() -> bool:
        answer = await deployment.command("is the kitchen light on")
        return "home_assistant" in answer["degraded"] and "Home Assistant" in answer["reply"]

    await eventually(is_announced, within_s=DETECT_S)
    await deployment.until_healthy(within_s=RECOVER_S)
    await deployment.command("turn off the kitchen light")
    assert await deployment.light() == "off"


async def test_recorded_turns_survive_the_loss_of_the_database(
    deployment: WholeHouse,
) -> None:
    answer = await deployment.command("what time is it")
    conversation = Conversation(deployment, accepted=[answer["trace_id"]])
    await conversation.recorded()
    deployment.down()
    for file in filter(Path.is_file, deployment.paths.data.glob("barnabee.db*")):
        file.unlink()
    shutil.rmtree(deployment.paths.data / ".barnabee.db-litestream", ignore_errors=True)
    deployment.up()
    await conversation.recorded(within_s=1)


async def test_backups_are_made_tested_and_reported_while_running(deployment: WholeHouse) -> None:
    await deployment.command("what time is it")
    made = deployment.cli("backup", "kit")
    assert made.returncode == 0, made.stderr
    secret = re.search(r"AGE-SECRET-KEY-1\S+", made.stdout)
    assert secret
    assert deployment.cli("backup", "kit").returncode == 2  # a key already exists
    for command in ("snapshot", "drill"):
        done = deployment.cli("backup", command)
        assert done.returncode == 0, done.stdout + done.stderr
    kit = deployment.directory / "kit.txt"
    kit.write_text(made.stdout)
    rehearsed = deployment.cli("restore", "--rehearse-recovery-kit", "--key", str(kit))
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert "intact and identical" in rehearsed.stdout
    kept = (path for path in deployment.paths.root.rglob("*") if path.is_file())
    assert not [path for path in kept if secret[0].encode() in path.read_bytes()]

    print(deployment.cli("backup", "status").stdout)
    found = json.loads(deployment.cli("backup", "status", "--json").stdout)
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
    deployment: WholeHouse,
) -> None:
    answer = await deployment.command("what time is it")
    conversation = Conversation(deployment, accepted=[answer["trace_id"]])
    await conversation.recorded()
    refused = deployment.cli("restore")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    deployment.cli("health", "--wait", "60")

    begun_s = time.monotonic()
    done = deployment.cli("restore", "--force")
    assert done.returncode == 0, done.stderr
    print(done.stderr, f"{time.monotonic() - begun_s:.1f} s until it starts again")
    assert deployment.cli("health", "--wait", "90").returncode == 0
    await conversation.recorded(within_s=5)


async def test_a_damaged_database_is_kept_until_it_is_restored(
    deployment: WholeHouse,
) -> None:
    answer = await deployment.command("what time is it")
    conversation = Conversation(deployment, accepted=[answer["trace_id"]])
    await conversation.recorded()
    deployment.down()
    damaged = b"not a database any more" * 500
    for file in filter(Path.is_file, deployment.paths.data.glob("barnabee.db*")):
        file.unlink()  # the write-ahead log would repair the pages it contains
    deployment.paths.database.write_bytes(damaged)
    deployment.cli("up", "-d")
    try:
        health = deployment.cli("health", "--wait", "20")
        assert health.returncode != 0
        assert "barnabee restore" in deployment.cli("status").stdout + health.stdout + health.stderr
        assert deployment.paths.database.read_bytes() == damaged
    finally:
        deployment.down()
    restored = deployment.cli("restore", "--force")
    assert restored.returncode == 0, restored.stdout + restored.stderr
    deployment.up()
    await conversation.recorded(within_s=1)
    kept = [path for path in deployment.paths.data.rglob("*") if path.is_file()]
    assert any(path.read_bytes() == damaged for path in kept), "the damaged file was thrown away"


async def test_the_next_runner_ends_the_orphans_of_a_killed_one(
    deployment: WholeHouse,
) -> None:
    run = deployment.cli("status")
    assert run.returncode == 0
    before = {process.pid for process in orphans.find_processes(deployment.paths.run_id)}
    from barnabee.up import run_state  # noqa: PLC0415 - only here

    now = run_state.require_running(deployment.paths)
    psutil.Process(now.pid).kill()
    deployment.up()
    after = {process.pid for process in orphans.find_processes(deployment.paths.run_id)}
    assert not before & after


async def test_down_leaves_no_process_and_no_open_port(deployment: WholeHouse) -> None:
    begun = time.monotonic()
    deployment.down()
    assert time.monotonic() - begun <= 12
    assert not orphans.find_processes(deployment.paths.run_id)
    listening = {
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert not listening & set(deployment.ports.values())


async def _has_accepted_turns(conversation: Conversation) -> bool:
    return len(conversation.accepted) >= 3


async def _is_noticed(deployment: WholeHouse, name: str, killed: int) -> bool:
    node = deployment.node(name)
    if node.pid != killed or node.state != "healthy":
        return True
    if name not in API_DEPENDENCIES:
        return False
    report = await deployment.health()
    return report["dependencies"][API_DEPENDENCIES[name]]["status"] != "healthy"


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())

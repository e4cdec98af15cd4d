"""The whole house, every part real: it answers, it heals, and nothing accepted is lost."""

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
from support.wait import eventually
from support.whole_house import Conversation, WholeHouse

AUDIO = Path(__file__).resolve().parents[1] / "audio"
DETECT_S, RECOVER_S = 5, 15
# Who says that a node is gone: the readiness report of the API names it, or the runner does.
SEEN_BY_API = {"redis": "redis", "gpu": "gpu", "worker": "worker", "home": "home_assistant"}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeHouse]:
    whole = WholeHouse(tmp_path_factory.mktemp("house"))
    try:
        whole.up()
        yield whole
    finally:
        whole.clean()


def test_everything_is_healthy_within_the_limit_of_the_specification(house: WholeHouse) -> None:
    report = json.loads(house.cli("health", "--json").stdout)
    print(f"all healthy after {report['healthy_s']:.1f} s")
    assert report["healthy_s"] <= 60, report


async def test_a_sentence_switches_the_light_in_home_assistant(house: WholeHouse) -> None:
    for word in ("on", "off", "on"):
        done = house.cli("say", f"turn {word} the kitchen light")
        assert done.returncode == 0, done.stderr
        assert await house.light() == word


async def test_a_spoken_question_gets_a_spoken_answer(house: WholeHouse, tmp_path: Path) -> None:
    reply = tmp_path / "reply.wav"
    question = AUDIO / "what_can_you_do_af_heart.wav"
    done = house.cli("say", "--wav", str(question), "--out", str(reply))
    assert done.returncode == 0, done.stdout + done.stderr
    client = GpuClient(house.url("gpu"), house.token, timeout_s=30)
    heard = (await client.transcribe(reply.read_bytes())).text.lower()
    await client.aclose()
    said = next(line for line in done.stdout.splitlines() if line.startswith("reply:"))
    assert "what can you do" in done.stdout.lower()
    assert _words(heard) == _words(said.removeprefix("reply:"))


async def test_one_trace_id_runs_through_the_log_the_record_and_the_answer(
    house: WholeHouse,
) -> None:
    answer = await house.command("what day is it")
    trace_id = answer["trace_id"]

    async def everywhere() -> bool:
        lines = house.cli("logs", "--trace", trace_id).stdout
        assert "api" in lines
        assert "worker" in lines
        async with house.client() as client:
            return (await client.get(f"/v1/turns/{trace_id}")).status_code == 200

    assert await eventually(everywhere, within_s=10, every_s=0.3)


async def test_two_hundred_commands_at_once_are_all_answered(house: WholeHouse) -> None:
    async with house.client() as client:
        answers = await asyncio.gather(
            *(client.post("/v1/command", json={"utterance": "what time is it"}) for _ in range(200))
        )
    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["trace_id"] for answer in answers}) == 200


@pytest.mark.parametrize(
    "name", ["redis", "api", "worker", "gpu", "voice", "litestream", "s3", "home"]
)
async def test_a_killed_service_is_named_comes_back_and_no_accepted_turn_is_lost(
    house: WholeHouse, name: str
) -> None:
    await house.until_healthy(within_s=30)
    conversation = Conversation(house)
    talking = asyncio.create_task(conversation.talk())
    try:
        await eventually(lambda: _some(conversation), within_s=10)
        begun = time.monotonic()
        killed = house.kill(name)
        await eventually(lambda: _noticed(house, name, killed), within_s=DETECT_S)
        noticed_s = time.monotonic() - begun
        await house.until_healthy(within_s=RECOVER_S - noticed_s)
        print(f"{name}: noticed {noticed_s:.1f} s, back {time.monotonic() - begun:.1f} s")
    finally:
        talking.cancel()
        with suppress(asyncio.CancelledError):
            await talking
    assert house.node(name).pid != killed
    await conversation.recorded()


async def test_home_assistant_gone_is_said_and_when_it_is_back_lights_switch_again(
    house: WholeHouse,
) -> None:
    await house.until_healthy(within_s=30)
    house.kill("home")

    async def said() -> bool:
        answer = await house.command("is the kitchen light on")
        return "home_assistant" in answer["degraded"] and "house" in answer["reply"]

    await eventually(said, within_s=DETECT_S)
    await house.until_healthy(within_s=RECOVER_S)
    await house.command("turn off the kitchen light")
    assert await house.light() == "off"


async def test_what_was_recorded_survives_the_loss_of_the_data_directory(
    house: WholeHouse,
) -> None:
    answer = await house.command("what time is it")
    conversation = Conversation(house, accepted=[answer["trace_id"]])
    await conversation.recorded()
    house.down()
    for file in filter(Path.is_file, house.paths.data.glob("barnabee.db*")):
        file.unlink()
    shutil.rmtree(house.paths.data / ".barnabee.db-litestream", ignore_errors=True)
    house.up()
    await conversation.recorded(within_s=1)


async def test_copies_are_made_proven_and_told_while_the_house_runs(house: WholeHouse) -> None:
    await house.command("what time is it")
    made = house.cli("backup", "kit")
    assert made.returncode == 0, made.stderr
    secret = re.search(r"AGE-SECRET-KEY-1\S+", made.stdout)
    assert secret
    assert house.cli("backup", "kit").returncode == 2  # there is one already
    for command in ("snapshot", "drill"):
        done = house.cli("backup", command)
        assert done.returncode == 0, done.stdout + done.stderr
    kit = house.directory / "kit.txt"
    kit.write_text(made.stdout)
    rehearsed = house.cli("restore", "--rehearse-recovery-kit", "--key", str(kit))
    assert rehearsed.returncode == 0, rehearsed.stderr
    assert "sound and equal" in rehearsed.stdout
    kept = (path for path in house.paths.root.rglob("*") if path.is_file())
    assert not [path for path in kept if secret[0].encode() in path.read_bytes()]

    print(house.cli("backup", "status").stdout)
    found = json.loads(house.cli("backup", "status", "--json").stdout)
    assert found["drill"]["last"]["success"]
    assert found["snapshot"]["encrypted"]
    async with httpx.AsyncClient() as client:
        url, headers = f"{house.url('api')}/v1/backups", {"Authorization": f"Bearer {house.token}"}
        told = (await client.get(url, headers=headers)).json()
        assert told.keys() == found.keys()
        assert told["drill"]["last"] == found["drill"]["last"]
        asked = await client.post(f"{url}/rehearse", headers=headers)
        assert asked.status_code == 202

        async def drilled() -> bool:
            now = (await client.get(url, headers=headers)).json()["drill"]
            return len(now["history"]) == 2 and not now["requested"]

        await eventually(drilled, within_s=60, every_s=1)
        metrics = (await client.get(f"{house.url('worker')}/metrics", headers=headers)).text
    assert "barnabee_backup_lag_transactions 0.0" in metrics


async def test_a_restore_of_a_running_house_stops_it_and_starts_it_again(
    house: WholeHouse,
) -> None:
    answer = await house.command("what time is it")
    conversation = Conversation(house, accepted=[answer["trace_id"]])
    await conversation.recorded()
    refused = house.cli("restore")
    assert refused.returncode == 2
    assert "--force" in refused.stderr
    house.cli("health", "--wait", "60")

    begun_s = time.monotonic()
    done = house.cli("restore", "--force")
    assert done.returncode == 0, done.stderr
    print(done.stderr, f"{time.monotonic() - begun_s:.1f} s until it starts again")
    assert house.cli("health", "--wait", "90").returncode == 0
    await conversation.recorded(within_s=5)


async def test_a_damaged_database_is_refused_left_alone_and_restored_on_demand(
    house: WholeHouse,
) -> None:
    answer = await house.command("what time is it")
    conversation = Conversation(house, accepted=[answer["trace_id"]])
    await conversation.recorded()
    house.down()
    damaged = b"not a database any more" * 500
    for file in filter(Path.is_file, house.paths.data.glob("barnabee.db*")):
        file.unlink()  # the write-ahead log would mend what it covers
    house.paths.database.write_bytes(damaged)
    house.cli("up", "-d")
    try:
        said = house.cli("health", "--wait", "20")
        assert said.returncode != 0
        assert "barnabee restore" in house.cli("status").stdout + said.stdout + said.stderr
        assert house.paths.database.read_bytes() == damaged
    finally:
        house.down()
    restored = house.cli("restore", "--force")
    assert restored.returncode == 0, restored.stdout + restored.stderr
    house.up()
    await conversation.recorded(within_s=1)
    kept = [path for path in house.paths.data.rglob("*") if path.is_file()]
    assert any(path.read_bytes() == damaged for path in kept), "the damaged file was thrown away"


async def test_a_killed_runner_leaves_nothing_that_the_next_one_trips_over(
    house: WholeHouse,
) -> None:
    run = house.cli("status")
    assert run.returncode == 0
    before = {process.pid for process in orphans.find_processes(house.paths.run_id)}
    from barnabee.up import run_state  # noqa: PLC0415 - only here

    now = run_state.require_running(house.paths)
    psutil.Process(now.pid).kill()
    house.up()
    after = {process.pid for process in orphans.find_processes(house.paths.run_id)}
    assert not before & after


async def test_down_leaves_no_process_and_no_open_port(house: WholeHouse) -> None:
    begun = time.monotonic()
    house.down()
    assert time.monotonic() - begun <= 12
    assert not orphans.find_processes(house.paths.run_id)
    listening = {
        connection.laddr.port
        for connection in psutil.net_connections("tcp")
        if connection.status == psutil.CONN_LISTEN
    }
    assert not listening & set(house.ports.values())


async def _some(conversation: Conversation) -> bool:
    return len(conversation.accepted) >= 3


async def _noticed(house: WholeHouse, name: str, killed: int) -> bool:
    node = house.node(name)
    if node.pid != killed or node.state != "healthy":
        return True
    if name not in SEEN_BY_API:
        return False
    report = await house.health()
    return report["dependencies"][SEEN_BY_API[name]]["status"] != "healthy"


def _words(text: str) -> list[str]:
    return re.findall(r"[a-z']+", text.lower())

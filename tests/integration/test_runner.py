"""The runner against real processes: a small graph of fake services."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from support.house import SmallHouse
from support.wait import eventually


def lives(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SmallHouse]:
    small = SmallHouse(tmp_path)
    yield small
    small.clean()


async def test_starts_what_it_can_at_once_and_what_needs_others_after_them(
    house: SmallHouse,
) -> None:
    house.add("slow", "--delay", "5")
    house.add("quick")
    house.add("first")
    house.add_oneshot("once", needs=["first"])
    house.add("second", needs=["once"], wants=["slow"])
    house.up()
    await house.until_healthy(within_s=30)
    events = [(record.get("node"), record["event"]) for record in house.log()]
    at = {event: events.index(event) for event in events}
    together = [at[name, "starting"] for name in ("slow", "quick", "first")]
    assert max(together) < at["first", "ready"]
    assert at["first", "ready"] < at["once", "starting"]
    assert at["once", "done"] < at["second", "starting"]
    assert at["second", "ready"] < at["slow", "ready"], "a want held it back"
    output = await house.down()
    assert "all healthy in" in output
    assert "farewell" in output
    assert house.processes() == []


async def test_a_killed_service_is_back_within_15_s_and_others_keep_running(
    house: SmallHouse,
) -> None:
    house.add("base")
    house.add("leaf", needs=["base"])
    house.up()
    before = await house.until_healthy()
    os.kill(before.nodes["base"].pid or 0, signal.SIGKILL)

    async def back() -> bool:
        node = house.now().nodes["base"]
        return node.restarts == 1 and node.phase == "ready"

    await eventually(back, within_s=15)
    after = house.now()
    assert after.nodes["base"].pid != before.nodes["base"].pid
    assert after.nodes["leaf"].pid == before.nodes["leaf"].pid
    assert "killed by SIGKILL; again in 0." in await house.down()


async def test_a_service_that_keeps_failing_is_given_up_and_named_with_its_last_lines(
    house: SmallHouse,
) -> None:
    house.add("broken", "--fail", "3", start_limit_burst=3)
    house.add("behind", needs=["broken"])
    house.up()
    node = await house.until("broken", "given up")
    assert "failure 3 within 120 s" in node.reason
    assert node.last_lines[-1] == "error: my last words"
    assert house.now().nodes["behind"].blocked_by == ["broken"]
    output = await house.down()
    assert "broken failed" in output
    assert "my last words" in output


async def test_a_service_that_says_it_is_misconfigured_is_not_started_again(
    house: SmallHouse,
) -> None:
    house.add("broken", "--fail", "2")
    house.up()
    node = await house.until("broken", "given up")
    assert node.restarts == 1


async def test_a_service_over_its_start_up_budget_is_named_with_its_last_lines(
    house: SmallHouse,
) -> None:
    house.add("stuck", "--state", "unhealthy", startup_budget_s=1, start_limit_burst=1)
    house.up()
    node = await house.until("stuck", "given up")
    assert "not ready within its start-up budget of 1 s" in node.reason
    assert node.last_lines == ["info: listening"]


async def test_a_service_over_its_memory_limit_is_killed_and_started_again(
    house: SmallHouse,
) -> None:
    house.add("hog", "--hog-mib", "200", memory_max_mib=100)
    house.up()

    async def killed() -> bool:
        return any("memory" in str(record.get("reason")) for record in house.log())

    await eventually(killed, within_s=15)
    await house.until("hog", "ready")
    assert "MiB is above its limit of 100 MiB" in await house.down()


async def test_a_service_that_hangs_is_noticed_within_5_s_and_started_again(
    house: SmallHouse,
) -> None:
    house.add("hung", watchdog_s=5, stop_timeout_s=1)
    house.up()
    pid = (await house.until_healthy()).nodes["hung"].pid or 0
    os.kill(pid, signal.SIGSTOP)

    async def noticed() -> bool:
        return house.now().nodes["hung"].state == "unhealthy"

    async def back() -> bool:
        node = house.now().nodes["hung"]
        return node.phase == "ready" and node.pid != pid and node.state == "healthy"

    await eventually(noticed, within_s=5)
    await eventually(back, within_s=15)


async def test_a_taken_port_is_named_with_its_owner_before_anything_starts(
    house: SmallHouse,
) -> None:
    house.add("free")
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        port = house.add("unlucky", port=owner.getsockname()[1])
        runner = house.up()
        output, _ = await asyncio.to_thread(runner.communicate, timeout=15)
    assert runner.returncode == 2
    assert f"port_taken: Port {port} of unlucky is taken by" in output
    assert f"(pid {os.getpid()})" in output
    assert not house.paths.log.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_stop_ends_within_10_s_and_leaves_no_process(
    house: SmallHouse, number: signal.Signals
) -> None:
    house.add("deaf", "--ignore-term", "--grandchildren", stop_timeout_s=30)
    house.add("leaf", "--ignore-term", needs=["deaf"], stop_timeout_s=30)
    house.up()
    await house.until_healthy()
    assert len(house.processes()) == 4
    begun = time.monotonic()
    await house.down(number)
    assert time.monotonic() - begun < 10
    assert house.processes() == []
    assert house.runners[-1].returncode == 0


async def test_a_stop_goes_from_those_that_need_to_those_that_are_needed(
    house: SmallHouse,
) -> None:
    house.add("base")
    house.add("middle", needs=["base"])
    house.add("top", needs=["middle"])
    house.up()
    await house.until_healthy()
    await house.down()
    ended = [record["node"] for record in house.log() if record["event"] == "absent"]
    assert ended == ["top", "middle", "base"]


async def test_a_child_that_ignores_sigterm_is_killed_after_its_time(house: SmallHouse) -> None:
    house.add("deaf", "--ignore-term", stop_timeout_s=1)
    house.up()
    await house.until_healthy()
    begun = time.monotonic()
    await house.down()
    assert 1 <= time.monotonic() - begun < 5


async def test_grandchildren_end_with_their_service(house: SmallHouse) -> None:
    house.add("parent", "--grandchildren")
    house.up()
    before = await house.until_healthy()
    children = psutil.Process(before.nodes["parent"].pid).children()
    assert len(children) == 2
    os.kill(before.nodes["parent"].pid or 0, signal.SIGKILL)

    async def gone() -> bool:
        return not any(map(lives, children))

    await eventually(gone, within_s=5)
    await house.until("parent", "ready")


async def test_the_next_start_clears_what_a_killed_runner_left(house: SmallHouse) -> None:
    house.add("one", "--grandchildren")
    house.add("two", "--ignore-term")
    runner = house.up()
    await house.until_healthy()
    left = house.processes()
    assert len(left) == 4
    runner.kill()
    runner.wait()
    assert not house.now().alive
    house.up()

    async def cleared() -> bool:
        return house.now().alive and not any(map(lives, left))

    await eventually(cleared, within_s=15)
    await house.until_healthy()
    await house.down()
    assert house.processes() == []


async def test_a_service_that_wiped_its_environment_is_cleared_too(house: SmallHouse) -> None:
    house.add("forgetful", "--forgetful")
    runner = house.up()
    left = psutil.Process((await house.until_healthy()).nodes["forgetful"].pid)
    assert left not in house.processes(), "it still has the mark"
    runner.kill()
    runner.wait()
    house.up()

    async def cleared() -> bool:
        return house.now().alive and not lives(left)

    await eventually(cleared, within_s=15)
    await house.until_healthy()
    await house.down()


async def test_two_runners_of_one_home_do_not_meet(house: SmallHouse) -> None:
    house.add("one")
    first = house.up()
    await house.until_healthy()
    second = house.up()
    output, _ = await asyncio.to_thread(second.communicate, timeout=15)
    assert second.returncode == 2
    assert f"(pid {first.pid})" in output
    assert first.poll() is None


async def test_a_detached_runner_returns_when_it_has_taken_over_and_outlives_its_parent(
    house: SmallHouse,
) -> None:
    house.add("one")
    parent = house.up("-d")
    output, _ = await asyncio.to_thread(parent.communicate, timeout=15)
    assert (parent.returncode, output) == (0, "")
    run = await house.until_healthy()
    assert run.pid != parent.pid
    assert os.getsid(run.pid) != os.getsid(0)
    os.kill(run.pid, signal.SIGTERM)

    async def over() -> bool:
        return not psutil.pid_exists(run.pid) and not house.processes()

    await eventually(over, within_s=10)


async def test_a_detached_runner_says_what_keeps_it_from_starting(house: SmallHouse) -> None:
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        house.add("unlucky", port=owner.getsockname()[1])
        parent = house.up("-d")
        output, _ = await asyncio.to_thread(parent.communicate, timeout=15)
    assert parent.returncode == 2
    assert output.startswith("port_taken: Port")

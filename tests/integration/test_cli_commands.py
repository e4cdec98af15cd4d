"""The commands that look at a running house, against a real runner with fake services."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.house import ROOT, SmallHouse


@pytest.fixture
def house(tmp_path: Path) -> Iterator[SmallHouse]:
    small = SmallHouse(tmp_path)
    yield small
    small.clean()


async def barnabee(house: SmallHouse, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "BARNABEE_HOME": str(house.paths.root),
        "BARNABEE_SYSTEM": str(house.directory / "system.toml"),
    }
    command = [sys.executable, "-m", "barnabee", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=60
    )


async def test_health_waits_until_all_is_well_and_shows_the_cascade(house: SmallHouse) -> None:
    house.add("first", "--delay", "5")
    house.add("second", needs=["first"])
    house.up()
    await house.until("first", "starting")
    early = await barnabee(house, "health")
    assert early.returncode == 1
    assert "waits for first" in early.stdout
    waited = await barnabee(house, "health", "--wait", "30")
    assert waited.returncode == 0, waited.stdout
    assert "all is well after" in waited.stdout
    found = json.loads((await barnabee(house, "health", "--json")).stdout)
    assert found["good"] is True
    assert found["services"]["second"]["status"] == "healthy"


async def test_health_names_what_is_not_well_and_does_not_wait_for_what_was_given_up(
    house: SmallHouse,
) -> None:
    house.add("fine")
    house.add("broken", "--fail", "2")
    house.add("lacking", "--state", "degraded")
    house.up()
    await house.until("broken", "given up")
    begun = time.monotonic()
    result = await barnabee(house, "health", "--wait", "50")
    assert time.monotonic() - begun < 30
    assert result.returncode == 1
    assert "broken      unhealthy  it ended with exit status 2" in result.stdout
    assert "my last words" in result.stdout
    assert "lacking     degraded" in result.stdout
    assert "not everything is well" in result.stdout


async def test_health_asks_the_services_and_not_the_runners_memory(house: SmallHouse) -> None:
    house.add("one")
    house.up()
    run = await house.until_healthy()
    os.kill(run.nodes["one"].pid or 0, signal.SIGSTOP)
    result = await barnabee(house, "health")
    assert result.returncode == 1
    assert "one         unhealthy  no answer within" in result.stdout


async def test_status_shows_process_port_and_memory(house: SmallHouse) -> None:
    port = house.add("one")
    house.up()
    run = await house.until_healthy()
    result = await barnabee(house, "status")
    assert result.returncode == 0
    line = next(line for line in result.stdout.splitlines() if line.startswith("one"))
    assert {"ready", "healthy", str(port), str(run.nodes["one"].pid)} <= set(line.split())


async def test_down_stops_the_runner_and_its_services(house: SmallHouse) -> None:
    house.add("one")
    runner = house.up()
    await house.until_healthy()
    begun = time.monotonic()
    result = await barnabee(house, "down")
    assert (result.returncode, result.stdout) == (0, "stopped\n")
    assert time.monotonic() - begun < 10
    assert runner.wait(timeout=5) == 0
    assert house.processes() == []


async def test_down_clears_what_a_killed_runner_left(house: SmallHouse) -> None:
    house.add("one")
    runner = house.up()
    await house.until_healthy()
    runner.kill()
    runner.wait()
    result = await barnabee(house, "down")
    assert result.stdout.startswith("cleared one (pid ")
    assert house.processes() == []


async def test_logs_go_on_with_what_is_written_next_through_a_rotation(house: SmallHouse) -> None:
    house.paths.make()
    log = house.paths.log
    log.write_text('{"component":"api","event":"first"}\n')
    follower = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "barnabee", "logs", "-f", "--json", "-c", "api"),
        env=os.environ | {"PYTHONPATH": str(ROOT / "src"), "BARNABEE_HOME": str(house.paths.root)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert follower.stdout is not None

    async def event() -> str:
        assert follower.stdout is not None
        async with asyncio.timeout(20):
            return str(json.loads(await follower.stdout.readline())["event"])

    try:
        assert await event() == "first"
        with log.open("a") as file:
            file.write(
                '{"component":"gpu","event":"other"}\n{"component":"api","event":"second"}\n'
            )
        assert await event() == "second"
        log.rename(log.with_name("barnabee.jsonl.1"))
        log.write_text('{"component":"api","event":"third"}\n')
        assert await event() == "third"
    finally:
        follower.kill()
        await follower.wait()


async def test_up_refuses_a_second_runner_before_it_sets_anything_up(house: SmallHouse) -> None:
    house.add("one")
    house.up()
    await house.until_healthy()
    result = await barnabee(house, "up", "-d")
    assert result.returncode == 2
    assert "[already_running]" in result.stderr

"""Commands for a running deployment, with a real runner and fake services."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.fake_deployment import ROOT, FakeDeployment


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[FakeDeployment]:
    deployment = FakeDeployment(tmp_path)
    yield deployment
    deployment.clean_up()


async def barnabee(deployment: FakeDeployment, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "BARNABEE_HOME": str(deployment.paths.root),
        "BARNABEE_SYSTEM": str(deployment.directory / "system.toml"),
    }
    command = [sys.executable, "-m", "barnabee", *arguments]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=120
    )


async def test_health_waits_until_healthy_and_shows_the_cascade(
    deployment: FakeDeployment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    deployment.add("first", "--gate", str(gate))
    deployment.add("second", needs=["first"])
    deployment.start()
    await deployment.wait_for_phase("first", "starting")
    early = await barnabee(deployment, "health")
    assert early.returncode == 1
    assert "waits for first" in early.stdout
    gate.touch()
    waited = await barnabee(deployment, "health", "--wait", "120")
    assert waited.returncode == 0, waited.stdout
    assert "all services are healthy after" in waited.stdout
    found = json.loads((await barnabee(deployment, "health", "--json", "--wait", "120")).stdout)
    assert found["good"] is True
    assert found["services"]["second"]["status"] == "healthy"


async def test_health_names_unhealthy_nodes_and_does_not_wait_in_vain(
    deployment: FakeDeployment,
) -> None:
    deployment.add("fine")
    deployment.add("broken", "--fail", "2")
    deployment.add("lacking", "--state", "degraded")
    deployment.start()
    await deployment.wait_for_phase("broken", "given up")
    result = await barnabee(deployment, "health", "--wait", "3600")  # fails after 60 s
    assert result.returncode == 1
    assert "broken      unhealthy  it ended with exit status 2" in result.stdout
    assert "my last words" in result.stdout
    assert "lacking     degraded" in result.stdout
    assert "not all services are healthy" in result.stdout


async def test_health_probes_the_services_and_not_the_state_file(
    deployment: FakeDeployment,
) -> None:
    deployment.add("one")
    deployment.start()
    run = await deployment.wait_until_healthy()
    os.kill(run.nodes["one"].pid or 0, signal.SIGSTOP)
    result = await barnabee(deployment, "health")
    assert result.returncode == 1
    assert "one         unhealthy  no answer within" in result.stdout


async def test_status_shows_process_port_and_memory(deployment: FakeDeployment) -> None:
    port = deployment.add("one")
    deployment.start()
    run = await deployment.wait_until_healthy()
    result = await barnabee(deployment, "status")
    assert result.returncode == 0
    line = next(line for line in result.stdout.splitlines() if line.startswith("one"))
    assert {"ready", "healthy", str(port), str(run.nodes["one"].pid)} <= set(line.split())


async def test_down_stops_the_runner_and_its_services(deployment: FakeDeployment) -> None:
    deployment.add("one")
    runner = deployment.start()
    await deployment.wait_until_healthy()
    result = await barnabee(deployment, "down")
    assert (result.returncode, result.stdout) == (0, "stopped\n")
    assert runner.wait(timeout=120) == 0
    assert deployment.find_processes() == []


async def test_down_ends_orphans_of_a_killed_runner(deployment: FakeDeployment) -> None:
    deployment.add("one")
    runner = deployment.start()
    await deployment.wait_until_healthy()
    runner.kill()
    runner.wait()
    result = await barnabee(deployment, "down")
    assert result.stdout.startswith("cleared one (pid ")
    assert deployment.find_processes() == []


async def test_logs_follow_new_lines_through_a_rotation(deployment: FakeDeployment) -> None:
    deployment.paths.make()
    log = deployment.paths.log
    log.write_text('{"component":"api","event":"first"}\n')
    follower = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "barnabee", "logs", "-f", "--json", "-c", "api"),
        env=os.environ
        | {"PYTHONPATH": str(ROOT / "src"), "BARNABEE_HOME": str(deployment.paths.root)},
        stdout=asyncio.subprocess.PIPE,
    )
    assert follower.stdout is not None

    async def event() -> str:
        assert follower.stdout is not None
        async with asyncio.timeout(120):
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


async def test_up_rejects_a_second_runner_before_the_set_up(deployment: FakeDeployment) -> None:
    deployment.add("one")
    deployment.start()
    await deployment.wait_until_healthy()
    result = await barnabee(deployment, "up", "-d")
    assert result.returncode == 2
    assert "[already_running]" in result.stderr

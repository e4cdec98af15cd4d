"""Commands for a running deployment, with a real runner and fake services."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from support.fake_deployment import FAKE_SERVICE, ROOT, FakeDeployment
from support.wait import eventually


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[FakeDeployment]:
    deployment = FakeDeployment(tmp_path)
    yield deployment
    deployment.clean_up()


async def barnabee(
    deployment: FakeDeployment, *arguments: str, prefix: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {
        "PYTHONPATH": str(ROOT / "src"),
        "BARNABEE_HOME": str(deployment.paths.root),
        "BARNABEE_SYSTEM": str(deployment.directory / "system.toml"),
    }
    command = [*prefix, sys.executable, "-m", "barnabee", *arguments]
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
    await deployment.wait_for_phase("broken", "backing off")
    result = await barnabee(deployment, "health", "--wait", "3600")  # fails after 60 s
    assert result.returncode == 1
    assert "broken      unhealthy  it ended with exit status 2; failed start 1" in result.stdout
    assert "my last words" in result.stdout
    assert "lacking     degraded" in result.stdout
    assert "not all services are healthy" in result.stdout


async def test_health_probes_the_services_and_not_the_state_file(
    deployment: FakeDeployment,
) -> None:
    deployment.add("one")
    runner = deployment.start()
    run = await deployment.wait_until_healthy()
    runner.send_signal(signal.SIGSTOP)  # it would restart the service
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


async def test_status_does_not_show_an_old_state_as_current(deployment: FakeDeployment) -> None:
    deployment.add("one")
    runner = deployment.start()
    await deployment.wait_until_healthy()
    runner.send_signal(signal.SIGSTOP)

    async def refused() -> str:
        result = await barnabee(deployment, "status")
        assert result.returncode == 1
        line = next(line for line in result.stdout.splitlines() if line.startswith("one"))
        assert line.split()[1:3] == ["unknown", "unknown"]
        return result.stderr

    sentence = f"its runner (pid {runner.pid}) has written none for"
    assert sentence in " ".join((await eventually(refused)).split())
    health = await barnabee(deployment, "health")
    assert health.returncode == 1
    assert "one         healthy" in health.stdout
    assert sentence in " ".join(health.stdout.split())


async def test_restart_replaces_the_process_and_waits_until_it_is_ready(
    deployment: FakeDeployment,
) -> None:
    deployment.add("one")
    deployment.add("two")
    deployment.start()
    before = await deployment.wait_until_healthy()
    result = await barnabee(deployment, "restart", "one")
    assert (result.returncode, result.stdout) == (0, "restarted one\n")
    after = deployment.read_state()
    assert after.nodes["one"].phase == "ready"
    assert after.nodes["one"].pid != before.nodes["one"].pid
    assert after.nodes["two"].pid == before.nodes["two"].pid
    assert after.nodes["one"].restarts == 0, "a requested restart is no failure"


async def test_restart_names_the_known_services(deployment: FakeDeployment) -> None:
    deployment.add("one")
    deployment.add("two")
    deployment.start()
    await deployment.wait_until_healthy()
    result = await barnabee(deployment, "restart", "one", "three")
    assert result.returncode == 2
    assert "There is no service 'three'; known are one, two." in result.stderr


async def test_restart_reports_a_service_that_fails_again(deployment: FakeDeployment) -> None:
    deployment.add("broken", "--fail", "2")
    deployment.start()
    await deployment.wait_for_phase("broken", "backing off")
    result = await barnabee(deployment, "restart", "broken")
    assert result.returncode == 1
    assert "broken does not answer (it ended with exit status 2; failed start 1" in result.stderr


async def test_restart_without_a_runner_says_so(deployment: FakeDeployment) -> None:
    deployment.add("one")
    deployment.write()
    result = await barnabee(deployment, "restart", "one")
    assert result.returncode == 1
    assert "BarnabeeNet is not running" in result.stderr


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


needs_namespace = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("unshare") is None,
    reason="only root can make a PID namespace",
)
INIT = """
import os, subprocess, sys
os.setsid()
sys.exit(subprocess.call(sys.argv[1:]))
"""


@needs_namespace
async def test_the_health_check_of_a_container_kills_a_service_that_hangs(
    deployment: FakeDeployment, tmp_path: Path
) -> None:
    trigger = tmp_path / "trigger"
    port = deployment.add("one")
    deployment.write()
    service = [sys.executable, str(FAKE_SERVICE), "--port", str(port), "--deadlock", str(trigger)]
    namespace = ["unshare", "--pid", "--fork", "--kill-child", "--mount-proc"]
    check = ["health", "--ready", "--kill-hung", "--at", "one=127.0.0.1"]
    with subprocess.Popen([*namespace, sys.executable, "-c", INIT, *service]) as container:
        try:

            async def is_healthy() -> bool:
                return (await barnabee(deployment, *check)).returncode == 0

            await eventually(is_healthy)
            trigger.touch()
            init = psutil.Process(container.pid).children()[0].pid
            inside = ["nsenter", f"--target={init}", "--pid", "--mount"]

            async def is_killed() -> bool:
                result = await barnabee(deployment, *check, prefix=inside)
                assert result.returncode != 0  # the end of the namespace may end the command too
                return "the service hangs: killed" in result.stderr

            await eventually(is_killed)  # one check may see it wake up for a moment
            assert await asyncio.to_thread(container.wait, 120) != 0
        finally:
            container.kill()

"""The runner with real processes: a small graph of fake services."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from barnabee.up import launch, run_state
from barnabee.up.paths import Paths
from support.fake_deployment import ROOT, FakeDeployment
from support.wait import eventually


def is_alive(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[FakeDeployment]:
    deployment = FakeDeployment(tmp_path)
    yield deployment
    deployment.clean_up()


async def test_independent_nodes_start_at_once_and_dependents_later(
    deployment: FakeDeployment, tmp_path: Path
) -> None:
    gate = tmp_path / "gate"
    deployment.add("slow", "--gate", str(gate), startup_budget_s=120)
    deployment.add("quick")
    deployment.add("first")
    deployment.add_oneshot("once", needs=["first"])
    deployment.add("second", needs=["once"], wants=["slow"])
    deployment.start()
    await deployment.wait_for_phase("second", "ready")
    gate.touch()
    await deployment.wait_until_healthy()
    events = [(record.get("node"), record["event"]) for record in deployment.read_log()]
    at = {event: events.index(event) for event in events}
    together = [at[name, "starting"] for name in ("slow", "quick", "first")]
    assert max(together) < at["first", "ready"]
    assert at["first", "ready"] < at["once", "starting"]
    assert at["once", "done"] < at["second", "starting"]
    assert at["second", "ready"] < at["slow", "ready"], "a want delayed the start"
    output = await deployment.stop()
    assert "all healthy in" in output
    assert "farewell" in output
    assert deployment.find_processes() == []


async def test_a_killed_service_restarts_and_others_keep_running(
    deployment: FakeDeployment,
) -> None:
    deployment.add("base")
    deployment.add("leaf", needs=["base"])
    deployment.start()
    before = await deployment.wait_until_healthy()
    os.kill(before.nodes["base"].pid or 0, signal.SIGKILL)

    async def back() -> bool:
        node = deployment.read_state().nodes["base"]
        return node.restarts == 1 and node.phase == "ready"

    await eventually(back)
    after = deployment.read_state()
    assert after.nodes["base"].pid != before.nodes["base"].pid
    assert after.nodes["leaf"].pid == before.nodes["leaf"].pid
    assert "killed by SIGKILL; again in 0." in await deployment.stop()


async def test_a_service_that_ends_unasked_without_an_error_restarts(
    deployment: FakeDeployment,
) -> None:
    deployment.add("polite")
    deployment.start()
    pid = (await deployment.wait_until_healthy()).nodes["polite"].pid or 0
    os.kill(pid, signal.SIGTERM)

    async def back() -> bool:
        node = deployment.read_state().nodes["polite"]
        return node.restarts == 1 and node.phase == "ready"

    await eventually(back)
    assert "it ended with exit status 0; again in 0." in await deployment.stop()


async def test_a_repeatedly_failing_service_backs_off_and_is_shown(
    deployment: FakeDeployment,
) -> None:
    deployment.add("broken", "--fail", "3", start_limit_burst=3)
    deployment.add("behind", needs=["broken"])
    deployment.start()
    node = await deployment.wait_for_phase("broken", "backing off")
    assert "exit status 3; failed start 3, next try at " in node.reason
    assert node.state == "unhealthy"
    assert node.last_lines[-1] == "error: my last words"
    assert deployment.read_state().nodes["behind"].blocked_by == ["broken"]
    output = await deployment.stop()
    assert "broken failed" in output
    assert "my last words" in output


async def test_a_misconfigured_service_starts_when_its_configuration_changes(
    deployment: FakeDeployment,
) -> None:
    marker = deployment.paths.secrets / "some_token"
    deployment.add("broken", "--fail-without", str(marker))
    deployment.start()
    node = await deployment.wait_for_phase("broken", "backing off")
    assert node.restarts == 1
    marker.write_text("a secret")
    node = await deployment.wait_for_phase("broken", "ready", within_s=50)
    assert node.restarts == 1, "it was tried before the configuration changed"


async def test_a_failing_service_is_started_again_when_the_operator_asks(
    deployment: FakeDeployment, tmp_path: Path
) -> None:
    marker = tmp_path / "fixed"
    deployment.add("broken", "--fail-without", str(marker))
    deployment.start()
    await deployment.wait_for_phase("broken", "backing off")
    marker.touch()
    run_state.request_restart(deployment.paths, "broken")
    await deployment.wait_for_phase("broken", "ready", within_s=50)


async def test_the_state_is_unknown_while_the_runner_does_not_write_it(
    deployment: FakeDeployment,
) -> None:
    deployment.add("one")
    runner = deployment.start()
    await deployment.wait_until_healthy()
    runner.send_signal(signal.SIGSTOP)

    async def is_unknown() -> bool:
        return deployment.read_state().nodes["one"].state == "unknown"

    await eventually(is_unknown)
    runner.send_signal(signal.SIGCONT)
    await deployment.wait_for_phase("one", "ready")
    assert deployment.read_state().nodes["one"].restarts == 0


async def test_a_state_that_cannot_be_written_is_logged(deployment: FakeDeployment) -> None:
    deployment.add("one")
    deployment.start()
    await deployment.wait_until_healthy()
    state = deployment.paths.state
    state.unlink()
    state.mkdir()  # the atomic replacement fails

    async def is_logged() -> bool:
        return any(record["event"] == "state not written" for record in deployment.read_log())

    await eventually(is_logged)
    state.rmdir()
    await deployment.wait_until_healthy()


async def test_a_service_over_its_start_up_budget_is_shown(
    deployment: FakeDeployment,
) -> None:
    deployment.add("stuck", "--state", "unhealthy", startup_budget_s=1, start_limit_burst=1)
    deployment.start()
    node = await deployment.wait_for_phase("stuck", "backing off")
    assert "not ready within its start-up budget of 1 s" in node.reason
    assert node.last_lines == ["info: listening"]


async def test_a_service_over_its_memory_limit_is_restarted(
    deployment: FakeDeployment,
) -> None:
    deployment.add("hog", "--hog-mib", "200", memory_max_mib=100)
    deployment.start()

    async def killed() -> bool:
        return any("memory" in str(record.get("reason")) for record in deployment.read_log())

    await eventually(killed)
    await deployment.wait_for_phase("hog", "ready")
    assert "MiB is above its limit of 100 MiB" in await deployment.stop()


@pytest.mark.parametrize("fault", ["stopped", "deadlock"])
async def test_a_hanging_service_is_killed_and_restarted(
    deployment: FakeDeployment, tmp_path: Path, fault: str
) -> None:
    trigger = tmp_path / "trigger"
    # without hang detection it would be killed after an hour, or after another on SIGTERM
    deployment.add("hung", "--deadlock", str(trigger), watchdog_s=3600, stop_timeout_s=3600)
    deployment.start()
    pid = (await deployment.wait_until_healthy()).nodes["hung"].pid or 0
    if fault == "stopped":
        os.kill(pid, signal.SIGSTOP)
    else:
        trigger.touch()

    async def back() -> bool:
        node = deployment.read_state().nodes["hung"]
        return node.phase == "ready" and node.pid != pid and node.state == "healthy"

    await eventually(back)
    assert "hung failed: it hangs: no answer within 2.3 s" in await deployment.stop()


async def test_a_busy_service_is_not_killed(deployment: FakeDeployment, tmp_path: Path) -> None:
    trigger = tmp_path / "trigger"
    deployment.add("busy", "--busy", str(trigger), watchdog_s=3600)
    deployment.start()
    pid = (await deployment.wait_until_healthy()).nodes["busy"].pid
    trigger.touch()
    misses = 3

    async def is_silent() -> bool:
        return deployment.read_state().nodes["busy"].state == "unhealthy"

    async def is_judged() -> bool:
        return trigger.read_text().count("probe") >= misses

    await eventually(is_silent)
    await eventually(is_judged)
    trigger.unlink()
    await deployment.wait_until_healthy()
    node = deployment.read_state().nodes["busy"]
    assert (node.pid, node.restarts) == (pid, 0)


async def test_a_taken_port_and_its_owner_are_named_before_the_start(
    deployment: FakeDeployment,
) -> None:
    deployment.add("free")
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        port = deployment.add("unlucky", port=owner.getsockname()[1])
        runner = deployment.start()
        output, _ = await asyncio.to_thread(runner.communicate, timeout=120)
    assert runner.returncode == 2
    assert f"port_taken: Port {port} of unlucky is in use by" in output
    assert f"(pid {os.getpid()})" in output
    assert not deployment.paths.log.exists()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_stop_kills_stubborn_services_and_leaves_no_process(
    deployment: FakeDeployment, number: signal.Signals
) -> None:
    deployment.add("stubborn", "--ignore-term", "--grandchildren", stop_timeout_s=3600)
    deployment.add("leaf", "--ignore-term", needs=["stubborn"], stop_timeout_s=3600)
    deployment.start()
    await deployment.wait_until_healthy()
    assert len(deployment.find_processes()) == 4
    await deployment.stop(number)  # fails after 60 s
    assert deployment.find_processes() == []
    assert deployment.runners[-1].returncode == 0


async def test_a_stop_ends_dependents_before_their_needs(
    deployment: FakeDeployment,
) -> None:
    deployment.add("base")
    deployment.add("middle", needs=["base"])
    deployment.add("top", needs=["middle"])
    deployment.start()
    await deployment.wait_until_healthy()
    await deployment.stop()
    ended = [record["node"] for record in deployment.read_log() if record["event"] == "absent"]
    assert ended == ["top", "middle", "base"]


async def test_a_child_that_ignores_sigterm_is_killed_after_its_limit(
    deployment: FakeDeployment,
) -> None:
    deployment.add("stubborn", "--ignore-term", stop_timeout_s=1)
    deployment.start()
    await deployment.wait_until_healthy()
    begun = time.monotonic()
    await deployment.stop()
    assert time.monotonic() - begun >= 1


async def test_grandchildren_end_with_their_service(deployment: FakeDeployment) -> None:
    deployment.add("parent", "--grandchildren")
    deployment.start()
    before = await deployment.wait_until_healthy()
    children = psutil.Process(before.nodes["parent"].pid).children()
    assert len(children) == 2
    os.kill(before.nodes["parent"].pid or 0, signal.SIGKILL)

    async def gone() -> bool:
        return not any(map(is_alive, children))

    await eventually(gone)
    await deployment.wait_for_phase("parent", "ready")


async def test_the_next_start_ends_orphans_of_a_killed_runner(deployment: FakeDeployment) -> None:
    deployment.add("one", "--grandchildren")
    deployment.add("two", "--ignore-term")
    runner = deployment.start()
    await deployment.wait_until_healthy()
    left = deployment.find_processes()
    assert len(left) == 4
    runner.kill()
    runner.wait()
    assert not deployment.read_state().is_alive
    deployment.start()

    async def cleared() -> bool:
        return deployment.read_state().is_alive and not any(map(is_alive, left))

    await eventually(cleared)
    await deployment.wait_until_healthy()
    await deployment.stop()
    assert deployment.find_processes() == []


async def test_an_orphan_without_its_environment_is_ended_too(deployment: FakeDeployment) -> None:
    deployment.add("forgetful", "--forgetful")
    runner = deployment.start()
    left = psutil.Process((await deployment.wait_until_healthy()).nodes["forgetful"].pid)
    assert left not in deployment.find_processes(), "its environment still has the run id"
    runner.kill()
    runner.wait()
    deployment.start()

    async def cleared() -> bool:
        return deployment.read_state().is_alive and not is_alive(left)

    await eventually(cleared)
    await deployment.wait_until_healthy()
    await deployment.stop()


async def test_a_second_runner_of_one_directory_is_rejected(deployment: FakeDeployment) -> None:
    deployment.add("one")
    first = deployment.start()
    await deployment.wait_until_healthy()
    second = deployment.start()
    output, _ = await asyncio.to_thread(second.communicate, timeout=120)
    assert second.returncode == 2
    assert f"(pid {first.pid})" in output
    assert first.poll() is None


async def test_a_detached_runner_outlives_its_parent(
    deployment: FakeDeployment,
) -> None:
    deployment.add("one")
    parent = deployment.start("-d")
    output, _ = await asyncio.to_thread(parent.communicate, timeout=120)
    assert (parent.returncode, output) == (0, "")
    run = await deployment.wait_until_healthy()
    assert run.pid != parent.pid
    assert os.getsid(run.pid) != os.getsid(0)
    os.kill(run.pid, signal.SIGTERM)

    async def over() -> bool:
        return not psutil.pid_exists(run.pid) and not deployment.find_processes()

    await eventually(over)


async def test_a_detached_start_reports_its_error(deployment: FakeDeployment) -> None:
    with socket.socket() as owner:
        owner.bind(("127.0.0.1", 0))
        owner.listen()
        deployment.add("unlucky", port=owner.getsockname()[1])
        parent = deployment.start("-d")
        output, _ = await asyncio.to_thread(parent.communicate, timeout=120)
    assert parent.returncode == 2
    assert output.startswith("port_taken: Port")


async def test_a_running_deployment_is_found_with_its_options(
    tmp_path: Path,
) -> None:
    paths = Paths(tmp_path / "home")
    paths.make()
    assert launch.find_running_deployment(paths) is None
    with subprocess.Popen(["sleep", "600"], env={"HOME_ASSISTANT_URL": "http://ha"}) as runner:
        state = run_state.RunState(
            *(runner.pid, psutil.Process(runner.pid).create_time(), str(ROOT / "system.toml")),
            models="/models",
            demo_home="/venv",
            monitoring=True,
        )
        run_state.write_state(paths, state)
        found = launch.find_running_deployment(paths)
        runner.kill()
    assert found is not None
    assert (found.demo_home, found.monitoring) == (Path("/venv"), True)
    assert (found.paths, found.models) == (paths, Path("/models"))
    assert found.environment["HOME_ASSISTANT_URL"] == "http://ha"
    assert launch.find_running_deployment(paths) is None

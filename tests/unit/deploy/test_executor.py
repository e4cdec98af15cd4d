"""Whoever carries out a switch can be recognised, and ended with all that it started."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from barnabee.deploy import executor
from barnabee.deploy.command import must, run
from barnabee.deploy.errors import DeployBusy, StepFailed
from barnabee.deploy.journal import Journal, State
from support.deploy_memory import record


def test_a_process_is_known_by_its_start_and_ended_with_its_children() -> None:
    command = [sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '600'])"]
    with subprocess.Popen(command) as process:
        started = psutil.Process(process.pid)
        name = f"process {process.pid} {started.create_time()}"
        assert executor.alive(name)
        assert not executor.alive(f"process {process.pid} {started.create_time() - 1}")
        executor.end(name)
        assert not executor.alive(name)


def test_nobody_is_its_own_owner() -> None:
    assert not executor.alive(executor.mine())
    assert not executor.alive("")


def test_a_command_that_takes_too_long_is_gone_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! >{tmp_path}/pid; wait"
    with pytest.raises(StepFailed, match="no end within 1 s"):
        run("sh", "-c", script, limit_s=1)
    child = int((tmp_path / "pid").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie"


def test_a_command_that_fails_says_its_last_line() -> None:
    with pytest.raises(StepFailed, match=r"failed \(status 3: that is why\)"):
        must("sh", "-c", "echo much; echo that is why >&2; exit 3", limit_s=10)
    with pytest.raises(StepFailed, match="No such file"):
        must("no-such-program", limit_s=10)


def test_one_switch_at_a_time_and_death_lets_go(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    journal.write(record(State.CHECKING))
    with journal.alone(), pytest.raises(DeployBusy, match="1 is under way"), journal.alone():
        pytest.fail("two at a time")
    with journal.alone():
        pass


def test_records_last_in_order_and_old_ones_are_forgotten(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    for number in range(5):
        journal.write(record(State.KEPT, id=str(number), well=True, target=f"/nix/store/{number}"))
    (tmp_path / "nonsense.json").write_text("{")
    assert [one.id for one in journal.every()] == ["0", "1", "2", "3", "4"]
    assert journal.last_kept() == "/nix/store/4"
    assert journal.in_flight() is None
    journal.prune(2)
    assert [one.id for one in journal.every()] == ["3", "4"]

"""Executors of switches, commands with limits, and the journal."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from barnabee.deploy import executor
from barnabee.deploy.command import DeployBusy, StepFailed, run_checked, run_command
from barnabee.deploy.journal import SwitchJournal, SwitchState
from support.deploy_memory import make_record
from support.wait import LAST_RESORT_S


def test_an_executor_is_identified_by_its_start_and_killed_with_children() -> None:
    command = [sys.executable, "-c", "import subprocess; subprocess.run(['sleep', '600'])"]
    with subprocess.Popen(command) as process:
        started = psutil.Process(process.pid)
        name = f"process {process.pid} {started.create_time()}"
        assert executor.is_executor_alive(name)
        assert not executor.is_executor_alive(f"process {process.pid} {started.create_time() - 1}")
        executor.kill_executor(name)
        assert not executor.is_executor_alive(name)


def test_a_process_is_not_another_executor_than_itself() -> None:
    assert not executor.is_executor_alive(executor.current_executor())
    assert not executor.is_executor_alive("")


def test_a_command_over_its_limit_is_killed_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 600 & echo $! >{tmp_path}/pid; wait"
    with pytest.raises(StepFailed, match="not finished within 1 s"):
        run_command("sh", "-c", script, limit_s=1)
    child = int((tmp_path / "pid").read_text())
    deadline = time.monotonic() + LAST_RESORT_S
    while not has_ended(child):  # SIGKILL takes effect when the process runs next
        assert time.monotonic() < deadline
        time.sleep(0.01)


def has_ended(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == "zombie"
    except psutil.NoSuchProcess:
        return True


def test_a_failed_command_reports_its_last_line() -> None:
    with pytest.raises(StepFailed, match=r"failed \(status 3: that is why\)"):
        run_checked("sh", "-c", "echo much; echo that is why >&2; exit 3", limit_s=10)
    with pytest.raises(StepFailed, match="No such file"):
        run_checked("no-such-program", limit_s=10)


def test_the_lock_allows_one_switch_at_a_time(tmp_path: Path) -> None:
    journal = SwitchJournal(tmp_path)
    journal.write(make_record(SwitchState.CHECKING))
    with journal.lock(), pytest.raises(DeployBusy, match="1 is in progress"), journal.lock():
        pytest.fail("two at a time")
    with journal.lock():
        pass


def test_records_are_listed_in_order_and_old_ones_pruned(tmp_path: Path) -> None:
    journal = SwitchJournal(tmp_path)
    for number in range(5):
        journal.write(
            make_record(SwitchState.KEPT, id=str(number), well=True, target=f"/nix/store/{number}")
        )
    (tmp_path / "nonsense.json").write_text("{")
    assert [one.id for one in journal.list_records()] == ["0", "1", "2", "3", "4"]
    assert journal.last_kept() == "/nix/store/4"
    assert journal.in_flight() is None
    journal.prune(2)
    assert [one.id for one in journal.list_records()] == ["3", "4"]

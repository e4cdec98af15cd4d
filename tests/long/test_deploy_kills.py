"""Switches on a scripted machine, killed at every step."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from barnabee.deploy.journal import SwitchState
from support.deploy_scripts import ScriptedMachine

KINDS = {
    "good": {"schema": 2},
    "bad after a migration": {"schema": 2, "unhealthy": True},
    "with another driver": {"driver": "2"},
}


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", KINDS)
def test_sigkill_at_every_step(tmp_path: Path, name: str) -> None:
    """Before and after every operation and every write of the record."""
    point, points = 0, 1
    while point < points:
        point += 1
        machine = ScriptedMachine(tmp_path / str(point))
        machine.install(machine.make_generation("old", driver="1"))
        new = machine.make_generation("new", **{"driver": "1", **KINDS[name]})  # type: ignore[arg-type]
        try:
            done = machine.drive("run", "--target", str(new), "--kill-at", str(point))
            if done.returncode != -signal.SIGKILL:
                break
            points += 1
            machine.settle()
            record = machine.record()
            if record is not None and record.state == SwitchState.BOOTING:
                machine.boot()
                machine.drive("gate")
                machine.settle()
            _expect_sound(machine, point)
        finally:
            machine.stop()
    print(name, point - 1, "points")
    assert point > 20


def _expect_sound(machine: ScriptedMachine, point: int) -> None:
    record = machine.record()
    details = (point, record)
    assert machine.is_healthy(), details
    assert machine.running_system() == machine.boot_default() == machine.profile.resolve(), details
    if record is None:  # killed before the first record
        assert machine.running_system().name == "old", details
        return
    assert record.is_final, details
    assert machine.running_system().name == {SwitchState.KEPT: "new"}.get(record.state, "old"), (
        details
    )
    assert record.well, details
    assert record.why or record.state == SwitchState.KEPT, details

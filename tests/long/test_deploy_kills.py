"""Switches on a scripted machine, killed at every step."""

from __future__ import annotations

import itertools
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
# Each kind is killed at a third of the points; unit/deploy/test_any_fault.py kills at all of them.
STRIDE = len(KINDS)


@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", KINDS)
def test_sigkill_at_many_steps(tmp_path: Path, name: str) -> None:
    """Before and after operations and writes of the record."""
    first = 1 + list(KINDS).index(name)
    for point in itertools.count(first, STRIDE):
        machine = ScriptedMachine(tmp_path / str(point))
        machine.install(machine.make_generation("old", driver="1"))
        new = machine.make_generation("new", **{"driver": "1", **KINDS[name]})  # type: ignore[arg-type]
        try:
            done = machine.drive("run", "--target", str(new), "--kill-at", str(point))
            if done.returncode != -signal.SIGKILL:
                break
            machine.settle()
            record = machine.record()
            if record is not None and record.state == SwitchState.BOOTING:
                machine.boot()
                machine.drive("gate")
                machine.settle()
            _expect_sound(machine, point)
        finally:
            machine.stop()
    print(name, "has at most", point - 1, "points")
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

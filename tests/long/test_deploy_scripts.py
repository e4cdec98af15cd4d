"""Switches on a scripted machine: success, rollback, and kills at every step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from barnabee.deploy.journal import SwitchState
from support.deploy_scripts import ScriptedMachine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[ScriptedMachine]:
    scripted = ScriptedMachine(tmp_path)
    scripted.install(scripted.make_generation("old", driver="1"))
    assert scripted.is_healthy()
    yield scripted
    scripted.stop()


def expect_rolled_back(machine: ScriptedMachine, why: str) -> None:
    record = machine.record()
    assert record is not None
    assert record.state == SwitchState.RETURNED
    assert why in record.summary()
    assert record.well
    assert machine.running_system().name == machine.boot_default().name == "old"
    assert machine.is_healthy()
    assert not (machine.root / "armed").exists()


def test_a_healthy_generation_becomes_the_boot_default(machine: ScriptedMachine) -> None:
    new = machine.make_generation("new", driver="1", schema=2)
    done = machine.drive("run", "--target", str(new))
    assert done.returncode == 0, done.stderr
    record = machine.record()
    assert record is not None
    assert record.state == SwitchState.KEPT
    assert record.pin is not None
    assert record.pin.data_schema == 1
    assert machine.running_system() == machine.boot_default() == machine.profile.resolve() == new
    assert machine.boot() == new
    assert machine.is_healthy()


def test_an_unhealthy_generation_is_rolled_back_with_the_reason(machine: ScriptedMachine) -> None:
    new = machine.make_generation("new", driver="1", unhealthy=True)
    machine.drive("run", "--target", str(new))
    expect_rolled_back(machine, "health: the api answers 500")


def test_a_failed_activation_is_rolled_back(machine: ScriptedMachine) -> None:
    machine.drive("run", "--target", str(machine.make_generation("new", driver="1", refuses=True)))
    expect_rolled_back(machine, "the activation script failed")


def test_a_rollback_after_a_migration_restores_the_database(
    machine: ScriptedMachine,
) -> None:
    new = machine.make_generation("new", driver="1", schema=2, unhealthy=True)
    machine.drive("run", "--target", str(new))
    expect_rolled_back(machine, "the api answers 500")
    record = machine.record()
    assert record is not None
    assert record.pin is not None
    assert record.restored == record.pin.id
    assert machine.call("python3", _database(machine), "schema").stdout.strip() == "1"


def _database(machine: ScriptedMachine) -> str:
    return f"{machine.environment()['LIB']}/database.py"


def test_a_rollback_over_a_migration_needs_with_data(machine: ScriptedMachine) -> None:
    old = machine.running_system()
    machine.drive("run", "--target", str(machine.make_generation("new", driver="1", schema=2)))
    assert machine.running_system().name == "new"
    machine.journal.directory.rename(machine.root / "earlier")
    machine.drive("run", "--target", str(old), "--kind", "rollback")
    record = machine.record()
    assert record is not None
    assert record.state == SwitchState.REFUSED
    assert "the database has schema 2, old supports up to 1; --with-data" in record.why
    assert machine.running_system().name == "new"
    assert machine.is_healthy()
    machine.journal.directory.rename(machine.root / "refused")
    machine.drive("run", "--target", str(old), "--kind", "rollback", "--with-data")
    record = machine.record()
    assert record is not None
    assert record.state == SwitchState.KEPT, record
    assert machine.running_system() == machine.boot_default() == old
    assert machine.is_healthy()


def test_another_driver_waits_for_a_boot_and_the_gate_keeps_it(machine: ScriptedMachine) -> None:
    new = machine.make_generation("new", driver="2")
    machine.drive("run", "--target", str(new))
    record = machine.record()
    assert record is not None
    assert record.state == SwitchState.BOOTING
    assert "GPU driver 1 is loaded, the new libraries are 2" in record.summary()
    assert machine.running_system().name == machine.boot_default().name == "old"
    assert machine.is_healthy()
    assert machine.boot() == new
    machine.drive("gate")
    record = machine.record()
    assert record is not None
    assert record.state == SwitchState.KEPT
    assert machine.boot_default() == new


def test_another_driver_that_is_unhealthy_after_its_boot_is_rolled_back(
    machine: ScriptedMachine,
) -> None:
    new = machine.make_generation("new", driver="2", unhealthy=True)
    machine.drive("run", "--target", str(new))
    assert machine.boot() == new
    machine.drive("gate")
    machine.settle()
    expect_rolled_back(machine, "the api answers 500")


def test_a_power_cut_during_the_activation_boots_the_old_system(machine: ScriptedMachine) -> None:
    """The target is not the boot default yet, so the gate only records the end."""
    new = machine.make_generation("new", driver="1")
    (machine.root / "die-while-activating").touch()
    machine.drive("run", "--target", str(new))
    assert machine.boot().name == "old"
    machine.drive("gate")
    expect_rolled_back(machine, "the machine restarted while activating")


def test_the_watchdog_rolls_back_a_switch_killed_while_activating(
    machine: ScriptedMachine,
) -> None:
    new = machine.make_generation("new", driver="1")
    (machine.root / "die-while-activating").touch()
    done = machine.drive("run", "--target", str(new))
    assert done.returncode == -signal.SIGKILL
    assert not machine.is_healthy()  # the old service is stopped, the new one not started
    assert (machine.root / "armed").exists()
    machine.drive("watch")
    expect_rolled_back(machine, "the switch stopped by itself while activating")

"""Switching a machine of real scripts and processes: kept, taken back, and killed on the way."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from barnabee.deploy.journal import State
from support.deploy_scripts import ScriptedMachine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[ScriptedMachine]:
    made = ScriptedMachine(tmp_path)
    made.install(made.generation("old", driver="1"))
    assert made.well()
    yield made
    made.stop()


def expect_back(machine: ScriptedMachine, why: str) -> None:
    record = machine.record()
    assert record is not None
    assert record.state == State.RETURNED
    assert why in record.sentence()
    assert record.well
    assert machine.running().name == machine.booted_next().name == "old"
    assert machine.well()
    assert not (machine.root / "armed").exists()


def test_a_good_generation_stays_and_is_booted_from_then_on(machine: ScriptedMachine) -> None:
    new = machine.generation("new", driver="1", schema=2)
    done = machine.drive("run", "--target", str(new))
    assert done.returncode == 0, done.stderr
    record = machine.record()
    assert record is not None
    assert record.state == State.KEPT
    assert record.pin is not None
    assert record.pin.data_schema == 1
    assert machine.running() == machine.booted_next() == machine.profile.resolve() == new
    assert machine.boot() == new
    assert machine.well()


def test_a_bad_one_takes_itself_back_and_says_why(machine: ScriptedMachine) -> None:
    new = machine.generation("new", driver="1", unwell=True)
    machine.drive("run", "--target", str(new))
    expect_back(machine, "health: the api answers 500")


def test_one_whose_activation_fails_is_taken_back(machine: ScriptedMachine) -> None:
    machine.drive("run", "--target", str(machine.generation("new", driver="1", refuses=True)))
    expect_back(machine, "the activation script failed")


def test_what_migrated_the_database_is_taken_back_with_the_database(
    machine: ScriptedMachine,
) -> None:
    new = machine.generation("new", driver="1", schema=2, unwell=True)
    machine.drive("run", "--target", str(new))
    expect_back(machine, "the api answers 500")
    record = machine.record()
    assert record is not None
    assert record.pin is not None
    assert record.restored == record.pin.id
    assert machine.call("python3", _database(machine), "schema").stdout.strip() == "1"


def _database(machine: ScriptedMachine) -> str:
    return f"{machine.environment()['LIB']}/database.py"


def test_going_back_by_hand_needs_the_word_that_data_goes_too(machine: ScriptedMachine) -> None:
    old = machine.running()
    machine.drive("run", "--target", str(machine.generation("new", driver="1", schema=2)))
    assert machine.running().name == "new"
    machine.journal.directory.rename(machine.root / "earlier")
    machine.drive("run", "--target", str(old), "--kind", "rollback")
    record = machine.record()
    assert record is not None
    assert record.state == State.REFUSED
    assert "the database has schema 2, old knows up to 1; --with-data" in record.why
    assert machine.running().name == "new"
    assert machine.well()
    machine.journal.directory.rename(machine.root / "refused")
    machine.drive("run", "--target", str(old), "--kind", "rollback", "--with-data")
    record = machine.record()
    assert record is not None
    assert record.state == State.KEPT, record
    assert machine.running() == machine.booted_next() == old
    assert machine.well()


def test_another_driver_waits_for_a_boot_and_is_kept_by_the_gate(machine: ScriptedMachine) -> None:
    new = machine.generation("new", driver="2")
    machine.drive("run", "--target", str(new))
    record = machine.record()
    assert record is not None
    assert record.state == State.BOOTING
    assert "the kernel has the card's driver 1, the new libraries are 2" in record.sentence()
    assert machine.running().name == machine.booted_next().name == "old"
    assert machine.well()
    assert machine.boot() == new
    machine.drive("gate")
    record = machine.record()
    assert record is not None
    assert record.state == State.KEPT
    assert machine.booted_next() == new


def test_another_driver_that_is_not_well_after_its_boot_goes(machine: ScriptedMachine) -> None:
    new = machine.generation("new", driver="2", unwell=True)
    machine.drive("run", "--target", str(new))
    assert machine.boot() == new
    machine.drive("gate")
    machine.heal()
    expect_back(machine, "the api answers 500")


def test_the_power_goes_in_the_middle(machine: ScriptedMachine) -> None:
    """What was not kept is not what is booted: the gate only has to write it down."""
    new = machine.generation("new", driver="1")
    (machine.root / "die-while-activating").touch()
    machine.drive("run", "--target", str(new))
    assert machine.boot().name == "old"
    machine.drive("gate")
    expect_back(machine, "the machine restarted while activating")


def test_it_is_killed_while_activating_and_the_watch_brings_it_back(
    machine: ScriptedMachine,
) -> None:
    new = machine.generation("new", driver="1")
    (machine.root / "die-while-activating").touch()
    done = machine.drive("run", "--target", str(new))
    assert done.returncode == -signal.SIGKILL
    assert not machine.well()  # half-way: the old service is stopped, the new one not started
    assert (machine.root / "armed").exists()
    machine.drive("watch")
    expect_back(machine, "the switch stopped by itself while activating")


KINDS = {
    "good": {"schema": 2},
    "bad after a migration": {"schema": 2, "unwell": True},
    "with another driver": {"driver": "2"},
}


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", KINDS)
def test_kill_9_at_every_step(tmp_path: Path, name: str) -> None:
    """Before and after every act and every line of the record: it ends well, and says why."""
    moment, moments = 0, 1
    while moment < moments:
        moment += 1
        machine = ScriptedMachine(tmp_path / str(moment))
        machine.install(machine.generation("old", driver="1"))
        new = machine.generation("new", **{"driver": "1", **KINDS[name]})  # type: ignore[arg-type]
        try:
            done = machine.drive("run", "--target", str(new), "--kill-at", str(moment))
            if done.returncode != -signal.SIGKILL:
                break
            moments += 1
            machine.heal()
            record = machine.record()
            if record is not None and record.state == State.BOOTING:
                machine.boot()
                machine.drive("gate")
                machine.heal()
            _expect_sound(machine, moment)
        finally:
            machine.stop()
    print(name, moment - 1, "moments")
    assert moment > 20


def _expect_sound(machine: ScriptedMachine, moment: int) -> None:
    record = machine.record()
    told = (moment, record)
    assert machine.well(), told
    assert machine.running() == machine.booted_next() == machine.profile.resolve(), told
    if record is None:  # killed before it had said that it begins
        assert machine.running().name == "old", told
        return
    assert record.final, told
    assert machine.running().name == {State.KEPT: "new"}.get(record.state, "old"), told
    assert record.well, told
    assert record.why or record.state == State.KEPT, told

"""Faults, kills and power cuts at any operation: the machine ends healthy, with a reason."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabee.core.errors import BarnabeeError
from barnabee.deploy import gate, switch
from barnabee.deploy.journal import SwitchRecord, SwitchState
from barnabee.deploy.machine import PinRef
from barnabee.deploy.plan import SwitchRequest
from support.deploy_memory import (
    FakeSystem,
    MachineState,
    MemoryJournal,
    MemoryMachine,
    PowerCut,
    ProcessKilled,
)

OLD, NEW = Path("/nix/store/old"), Path("/nix/store/new")
KINDS = ["kill before", "kill half", "kill after", "power before", "power half", "power after"]
FAILS = ["fail before", "fail half", "fail after"]


def make_machine(new: FakeSystem, faults: dict[int, str], *, once: bool = True) -> MachineState:
    systems = {OLD: FakeSystem(driver="1" if new.driver else None), NEW: new}
    loaded = systems[OLD].driver
    return MachineState(
        systems, OLD, OLD, OLD, OLD, faults=faults, loaded=loaded, can_boot_once=once
    )


def play(machine: MachineState, request: SwitchRequest) -> SwitchRecord | None:
    """Run the switch, then the watchdog and reboots until nothing is left to do.

    Returns None when it ended before there was a record.
    """
    journal = MemoryJournal(machine)

    def begin() -> None:
        switch.run_switch(MemoryMachine(machine), journal, request, "1")

    def at_boot() -> None:
        gate.run_gate(MemoryMachine(machine), journal)

    def watched() -> None:
        gate.recover_switch(MemoryMachine(machine), journal)

    work = begin
    for _ in range(60):
        died = _dies(machine, work)
        record = journal.in_flight()
        if record is not None and record.state == SwitchState.BOOTING:
            machine.rebooting = True  # an operator restarts it
        if machine.rebooting:
            machine.boot()
            work = at_boot
        elif died and work is at_boot:
            pass  # systemd restarts the gate
        elif machine.armed:
            work = watched
        else:
            break
    found = journal.list_records()
    assert journal.in_flight() is None, (machine.log, found[-1])
    return found[-1] if found else None


def _dies(machine: MachineState, work: Callable[[], None]) -> bool:
    try:
        work()
    except (ProcessKilled, BarnabeeError):
        return True
    except PowerCut:
        machine.rebooting = True
    finally:
        machine.alive = ""
    return False


def expect_sound(
    machine: MachineState, record: SwitchRecord | None, new: Path = NEW, old: Path = OLD
) -> None:
    details = (record, machine.log, machine.faults)
    assert machine.is_healthy(), details
    assert machine.systems[machine.default].healthy, details
    assert machine.running == machine.default == machine.profile_link, details
    if record is None:
        assert machine.running == old, details
        return
    if record.state == SwitchState.KEPT:
        assert machine.running == new, details
        assert record.well, details
    else:
        assert record.state in {SwitchState.RETURNED, SwitchState.REFUSED}, details
        assert machine.running == old, details
        assert record.why, details
        assert record.well, details
    assert record.ended_at, details
    assert not machine.armed, details


TARGETS = {
    "good": FakeSystem(),
    "bad": FakeSystem(healthy=False),
    "migrating": FakeSystem(schema=2),
    "bad after a migration": FakeSystem(schema=2, healthy=False),
    "good, with another driver": FakeSystem(driver="2"),
    "bad, with another driver": FakeSystem(driver="2", healthy=False),
    "bad after a migration, with another driver": FakeSystem(driver="2", schema=2, healthy=False),
    "not booting": FakeSystem(driver="2", boots=False),
}


@pytest.mark.parametrize("name", TARGETS)
def test_without_faults_a_healthy_system_stays_and_another_is_rolled_back(name: str) -> None:
    machine = make_machine(TARGETS[name], {})
    record = play(machine, SwitchRequest(NEW))
    good = name in {"good", "migrating", "good, with another driver"}
    assert record
    assert record.state == (SwitchState.KEPT if good else SwitchState.RETURNED), record
    assert machine.schema_now == (TARGETS[name].schema if good else 1)
    expect_sound(machine, record)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("kind", [*KINDS, *FAILS])
def test_one_fault_at_every_operation(name: str, kind: str) -> None:
    whole = make_machine(TARGETS[name], {})
    play(whole, SwitchRequest(NEW))
    assert whole.acts > 10
    for act in range(1, whole.acts + 1):
        machine = make_machine(TARGETS[name], {act: kind})
        expect_sound(machine, play(machine, SwitchRequest(NEW)))


@settings(max_examples=300)
@given(
    name=st.sampled_from(sorted(TARGETS)),
    once=st.booleans(),
    confirm=st.booleans(),
    faults=st.dictionaries(st.integers(1, 80), st.sampled_from([*KINDS, *FAILS]), max_size=4),
)
def test_up_to_four_faults_at_any_operations(
    name: str, once: bool, confirm: bool, faults: dict[int, str]
) -> None:
    if name == "not booting" and not once:
        return  # such a boot loader needs an operator: docs/operations.md
    machine = make_machine(TARGETS[name], faults, once=once)
    expect_sound(machine, play(machine, SwitchRequest(NEW, confirm=confirm)))


@settings(max_examples=300)
@given(
    healthy=st.booleans(),
    faults=st.dictionaries(st.integers(1, 80), st.sampled_from([*KINDS, *FAILS]), max_size=4),
)
def test_code_and_database_roll_back_together(healthy: bool, faults: dict[int, str]) -> None:
    """Both the system and the database are rolled back, or neither."""
    machine = make_machine(FakeSystem(schema=2), faults)
    machine.systems[OLD].healthy = healthy
    machine.running = machine.default = machine.profile_link = machine.services = NEW
    machine.schema_now = 2
    machine.pinned = [PinRef(id="pin-0", txid=7, data_schema=1)]
    machine.rows_of = {"pin-0": 50}
    record = play(machine, SwitchRequest(OLD, kind="rollback", with_data=True))
    expect_sound(machine, record, new=OLD, old=NEW)
    assert (machine.schema_now, machine.rows) == ((1, 50) if machine.running == OLD else (2, 100))


def test_a_rollback_to_a_healthy_system_may_fail_in_part() -> None:
    machine = make_machine(TARGETS["bad"], {})
    machine.faulty_activation = True
    record = play(machine, SwitchRequest(NEW))
    expect_sound(machine, record)
    assert record
    assert record.why.endswith("a part of it failed)."), record.why


def test_a_rollback_that_fails_on_an_unhealthy_system_is_stuck() -> None:
    machine = make_machine(TARGETS["bad"], {})
    machine.faulty_activation = True
    machine.systems[OLD].healthy = False
    record = play(machine, SwitchRequest(NEW))
    assert record
    assert record.state == SwitchState.STUCK

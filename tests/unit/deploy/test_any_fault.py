"""Whatever fails, is killed or loses its power, and when: the machine ends well, and says why."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabee.core.errors import BarnabeeError
from barnabee.deploy import gate, switch, switch_recovery
from barnabee.deploy.journal import PinRef, Record, State
from barnabee.deploy.plan import Order
from support.deploy_memory import Killed, MemoryJournal, MemoryMachine, PowerCut, System, World

OLD, NEW = Path("/nix/store/old"), Path("/nix/store/new")
KINDS = ["kill before", "kill half", "kill after", "power before", "power half", "power after"]
FAILS = ["fail before", "fail half", "fail after"]


def a_world(new: System, faults: dict[int, str], *, once: bool = True) -> World:
    systems = {OLD: System(driver="1" if new.driver else None), NEW: new}
    loaded = systems[OLD].driver
    return World(systems, OLD, OLD, OLD, OLD, faults=faults, loaded=loaded, can_boot_once=once)


def play(world: World, order: Order) -> Record | None:
    """Run it, and after it whatever a machine does by itself, until nothing is left to do.

    None when it ended before there was a record.
    """
    journal = MemoryJournal(world)

    def begin() -> None:
        switch.run(MemoryMachine(world), journal, order, "1")

    def at_boot() -> None:
        gate.pass_through(MemoryMachine(world), journal)

    def watched() -> None:
        switch_recovery.tick(MemoryMachine(world), journal)

    work = begin
    for _ in range(60):
        died = _dies(world, work)
        record = journal.in_flight()
        if record is not None and record.state == State.BOOTING:
            world.rebooting = True  # somebody restarts it
        if world.rebooting:
            world.boot()
            work = at_boot
        elif died and work is at_boot:
            pass  # systemd starts it again
        elif world.armed:
            work = watched
        else:
            break
    found = journal.every()
    assert journal.in_flight() is None, (world.told, found[-1])
    return found[-1] if found else None


def _dies(world: World, work: Callable[[], None]) -> bool:
    try:
        work()
    except (Killed, BarnabeeError):
        return True
    except PowerCut:
        world.rebooting = True
    finally:
        world.alive = ""
    return False


def expect_sound(world: World, record: Record | None, new: Path = NEW, old: Path = OLD) -> None:
    told = (record, world.told, world.faults)
    assert world.well(), told
    assert world.systems[world.default].well, told
    assert world.running == world.default == world.profile_link, told
    if record is None:
        assert world.running == old, told
        return
    if record.state == State.KEPT:
        assert world.running == new, told
        assert record.well, told
    else:
        assert record.state in {State.RETURNED, State.REFUSED}, told
        assert world.running == old, told
        assert record.why, told
        assert record.well, told
    assert record.ended_at, told
    assert not world.armed, told


TARGETS = {
    "good": System(),
    "bad": System(well=False),
    "migrating": System(schema=2),
    "bad after a migration": System(schema=2, well=False),
    "good, with another driver": System(driver="2"),
    "bad, with another driver": System(driver="2", well=False),
    "bad after a migration, with another driver": System(driver="2", schema=2, well=False),
    "not booting": System(driver="2", boots=False),
}


@pytest.mark.parametrize("name", TARGETS)
def test_without_a_fault_what_is_well_stays_and_what_is_not_goes(name: str) -> None:
    world = a_world(TARGETS[name], {})
    record = play(world, Order(NEW))
    good = name in {"good", "migrating", "good, with another driver"}
    assert record
    assert record.state == (State.KEPT if good else State.RETURNED), record
    assert world.schema_now == (TARGETS[name].schema if good else 1)
    expect_sound(world, record)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("kind", [*KINDS, *FAILS])
def test_one_fault_at_every_act(name: str, kind: str) -> None:
    whole = a_world(TARGETS[name], {})
    play(whole, Order(NEW))
    assert whole.acts > 10
    for act in range(1, whole.acts + 1):
        world = a_world(TARGETS[name], {act: kind})
        expect_sound(world, play(world, Order(NEW)))


@settings(deadline=None, max_examples=300)
@given(
    name=st.sampled_from(sorted(TARGETS)),
    once=st.booleans(),
    confirm=st.booleans(),
    faults=st.dictionaries(st.integers(1, 80), st.sampled_from([*KINDS, *FAILS]), max_size=4),
)
def test_up_to_four_faults_at_any_acts(
    name: str, once: bool, confirm: bool, faults: dict[int, str]
) -> None:
    if name == "not booting" and not once:
        return  # a loader that neither counts nor tries once cannot be helped: docs/operations.md
    world = a_world(TARGETS[name], faults, once=once)
    expect_sound(world, play(world, Order(NEW, confirm=confirm)))


@settings(deadline=None, max_examples=300)
@given(
    well=st.booleans(),
    faults=st.dictionaries(st.integers(1, 80), st.sampled_from([*KINDS, *FAILS]), max_size=4),
)
def test_rolling_code_and_data_back_together(well: bool, faults: dict[int, str]) -> None:
    """From a migrated system to the one before it, with the database: either both or neither."""
    world = a_world(System(schema=2), faults)
    world.systems[OLD].well = well
    world.running = world.default = world.profile_link = world.services = NEW
    world.schema_now = 2
    world.pinned = [PinRef(id="pin-0", txid=7, data_schema=1)]
    world.rows_of = {"pin-0": 50}
    record = play(world, Order(OLD, kind="rollback", with_data=True))
    expect_sound(world, record, new=OLD, old=NEW)
    assert (world.schema_now, world.rows) == ((1, 50) if world.running == OLD else (2, 100))

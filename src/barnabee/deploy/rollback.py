"""Rollback from any point of a switch; may itself be interrupted and repeated.

Order: the database, when the previous programs could not read it; the boot default; the services;
the health check.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from barnabee.deploy.command import StepFailed
from barnabee.deploy.journal import SwitchRecord, SwitchState
from barnabee.deploy.machine import DatabaseFacts, PinRef, SystemFacts
from barnabee.deploy.plan import find_readable_pin
from barnabee.deploy.steps import StepRunner, wait_until_healthy

MAX_TRIES = 5
ACTIVATE = "activate"  # name of a step


def roll_back(runner: StepRunner, why: str) -> SwitchRecord:
    """Return to the record's fallback; the state is RETURNING if another attempt is needed."""
    machine, record = runner.machine, runner.record
    runner.is_rollback = True
    if record.state == SwitchState.RETURNING:
        why = record.why or why  # the reason of the first attempt
    if record.returns >= MAX_TRIES:
        return _give_up(runner, why)
    limits = record.limits
    limit_s = limits.switch_s * 2 + limits.data_s + 2 * limits.settle_s
    runner.enter(SwitchState.RETURNING, limit_s, why=why, returns=record.returns + 1)
    try:
        if record.staged and machine.running_system() == Path(record.target):
            _reboot_into_previous(runner)
            return runner.record  # the gate finishes it at the next boot
        _undo_switch(runner)
    except StepFailed as error:
        if error.fields.get("hopeless"):
            return runner.finish(SwitchState.STUCK, f"{why}; {error}")
        return runner.record  # the watchdog tries again
    return finish_rollback(runner, why)


def _give_up(runner: StepRunner, why: str) -> SwitchRecord:
    """End a rollback that failed too often, as stuck unless the activated fallback is healthy.

    An activation continues after a part of it has failed.
    """
    machine, record = runner.machine, runner.record
    last = next((step for step in reversed(record.steps) if not step.ok), None)
    reason = f"{why}; {MAX_TRIES} rollbacks failed, the last: {last.why if last else 'unknown'}"
    fallback = Path(record.refuge)
    facts = machine.read_facts(fallback)
    activated = last is not None and last.what == ACTIVATE and machine.running_system() == fallback
    if activated and facts:
        settle_s = record.limits.settle_s
        runner.enter(SwitchState.RETURNING, 2 * settle_s)
        if wait_until_healthy(runner, facts, settle_s) is None:
            return runner.finish(SwitchState.RETURNED, reason, well=True)
    return runner.finish(SwitchState.STUCK, reason)


def finish_rollback(runner: StepRunner, why: str) -> SwitchRecord:
    """Check the health of the fallback and end the switch."""
    machine, record = runner.machine, runner.record
    facts = machine.read_facts(Path(record.refuge))
    started_s = machine.now_s()
    problem = wait_until_healthy(runner, facts, record.limits.settle_s) if facts else None
    runner.record_step("check after the rollback", started_s, why=problem or "")
    with suppress(StepFailed, OSError):  # the running system is protected anyway
        machine.protect_from_gc([Path(record.refuge), Path(record.previous)])
    if problem:
        why = f"{why}; and now {problem}"
    return runner.finish(SwitchState.RETURNED, why, well=problem is None if facts else None)


def _reboot_into_previous(runner: StepRunner) -> None:
    """Restart into the previous boot default: the target was booted, perhaps with its kernel."""
    machine, previous = runner.machine, Path(runner.record.previous_profile)
    try:
        restore_database_for(runner, machine.read_facts(previous))
        runner.run("restore the boot default", lambda: machine.set_boot_default(previous))
    finally:
        machine.reboot()  # after a one-time boot this alone leads back


def _undo_switch(runner: StepRunner) -> None:
    machine, record = runner.machine, runner.record
    fallback, limits = Path(record.refuge), record.limits
    facts = machine.read_facts(fallback)
    restore_database_for(runner, facts)
    if record.profile_changed:
        previous = Path(record.previous_profile)
        runner.run("restore the boot default", lambda: machine.set_boot_default(previous))
    if record.activated or machine.running_system() not in {fallback, Path(record.previous)}:
        runner.update(activated=True)
        runner.run(ACTIVATE, lambda: machine.activate(fallback, limits.switch_s))
    start_services(runner, facts)


def start_services(runner: StepRunner, facts: SystemFacts | None) -> None:
    """Start the services that a restore or an interrupted activation stopped."""
    data = facts.data if facts else None
    if data:
        runner.run("start the services", lambda: runner.machine.start_services(data))


def restore_database_for(runner: StepRunner, facts: SystemFacts | None) -> None:
    """Restore the database to a state that the programs of `facts` can read; StepFailed.

    Does nothing unless its schema is too new or this switch itself has restored it.
    """
    machine, record = runner.machine, runner.record
    target = machine.read_facts(Path(record.target))
    data = (facts.data if facts else None) or (target.data if target else None)
    if data is None:
        return
    schema, supported = machine.read_schema(data), facts.data_schema if facts else None
    unreadable = supported is not None and schema is not None and schema > supported
    moved = record.data_moved and record.pin is not None and record.restored != record.pin.id
    if not (unreadable or moved or record.restoring):
        return
    # Migrations create pins too, later than the switch does, so the newest one loses less.
    pins = tuple(machine.list_pins(data))
    newest = find_readable_pin(pins, supported) if supported is not None else None
    pin = record.pin if moved or newest is None else newest
    if pin and supported is not None and pin.data_schema > supported:
        pin = None
    if pin is None:
        fallback = Path(record.refuge).name
        reason = f"the database has schema {schema}, {fallback} supports up to {supported}"
        raise StepFailed(what="rollback", reason=f"{reason}, and no pin is that old", hopeless=1)
    restore_pin(runner, data, pin)


def restore_pin(runner: StepRunner, data: DatabaseFacts, pin: PinRef) -> None:
    """Restore `pin`; if interrupted, the record's `restoring` makes a rollback repeat it."""
    runner.update(restoring=pin.id)
    limit_s = runner.record.limits.data_s
    runner.run(f"restore {pin.id}", lambda: runner.machine.restore_database(data, pin, limit_s))
    runner.update(restoring="", restored=pin.id)

"""Steps of a switch, recorded on disk before and after, and its rollback from any of them.

Order: the database, when the previous programs could not read it; the boot default; the services;
the health check.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import structlog

from barnabee.core.errors import BarnabeeError
from barnabee.deploy.command import StepFailed
from barnabee.deploy.journal import (
    FINAL_STATES,
    SwitchJournal,
    SwitchRecord,
    SwitchState,
    SwitchStep,
)
from barnabee.deploy.machine import DatabaseFacts, Machine, PinRef, SystemFacts
from barnabee.deploy.plan import find_readable_pin

SLACK_S = 30.0  # by which a step may exceed its limit before it counts as hung
_CHECK_EVERY_S = 2.0
MAX_TRIES = 5
ACTIVATE = "activate"  # name of a step

log = structlog.get_logger()


T = TypeVar("T")


class StepRunner:
    """Runs the steps of one switch; every change of its record is written to disk at once.

    During a rollback a record that cannot be written (full disk) does not stop the steps.
    """

    def __init__(
        self,
        machine: Machine,
        journal: SwitchJournal,
        record: SwitchRecord,
        *,
        is_rollback: bool = False,
    ) -> None:
        self.machine = machine
        self.journal = journal
        self.record = record
        self.is_rollback = is_rollback
        self.is_written = False

    def update(self, **changes: Any) -> SwitchRecord:
        """Change the record and write it; StepFailed when it cannot be written."""
        self.record = self.record.model_copy(update=changes)
        self.is_written = False
        try:
            self.journal.write(self.record)
            self.is_written = True
        except OSError as error:
            log.error("deploy_unwritten", id=self.record.id, reason=str(error))  # noqa: TRY400
            if not self.is_rollback:
                raise StepFailed(what="writing the record", reason=str(error)) from error
        return self.record

    def enter(self, state: SwitchState, limit_s: float, **changes: Any) -> SwitchRecord:
        """Enter a state; after `limit_s` (and slack) the watchdog takes over."""
        deadline_s = self.machine.now_s() + limit_s + SLACK_S
        log.info("deploy", id=self.record.id, state=state.value)
        return self.update(state=state, deadline_s=deadline_s, **changes)

    def run(self, what: str, step: Callable[[], T]) -> T:
        """Run a step and record its outcome; StepFailed when it fails."""
        started_s = self.machine.now_s()
        try:
            result = step()
        except (BarnabeeError, OSError) as error:
            self.record_step(what, started_s, why=str(error))
            if isinstance(error, StepFailed):
                raise
            raise StepFailed(what=what, reason=str(error)) from error
        self.record_step(what, started_s)
        return result

    def record_step(self, what: str, started_s: float, why: str = "") -> None:
        """Record a finished step; `why` is the reason of a failure."""
        took_s = round(self.machine.now_s() - started_s, 3)
        step = SwitchStep(what=what, ok=not why, why=why, took_s=took_s)
        log.info("deploy_step", id=self.record.id, step=what, why=why, latency_ms=took_s * 1000)
        self.update(steps=(*self.record.steps, step))

    def finish(self, state: SwitchState, why: str = "", **changes: Any) -> SwitchRecord:
        """End the switch, disarm the watchdog and prune old records.

        If the record cannot be written, the watchdog stays armed and repeats the end later.
        """
        ended_at = self.machine.timestamp() if state in FINAL_STATES else None
        record = self.update(state=state, why=why, ended_at=ended_at, **changes)
        level = log.info if state in {SwitchState.KEPT, SwitchState.BOOTING} else log.error
        level("deploy_ended", id=record.id, state=state.value, message=record.summary())
        if not self.is_written:
            return record
        self.machine.disarm_watchdog()
        with suppress(OSError):
            self.journal.prune(record.limits.records_kept)
        return record


def wait_until_healthy(runner: StepRunner, facts: SystemFacts | None, limit_s: float) -> str | None:
    """Return None once the running system is healthy, or the reason after `limit_s`.

    A check that has started may finish, so this takes up to twice as long. A system without checks
    is healthy when no unit failed that had not failed before.
    """
    if facts is None:
        return "it has no etc/barnabee/deploy.json"
    machine = runner.machine
    end_s = machine.now_s() + limit_s
    while True:
        reason = _check_health(runner, facts, limit_s)
        left_s = end_s - machine.now_s()
        if reason is None or left_s <= 0:
            return reason
        machine.sleep(min(_CHECK_EVERY_S, left_s))


def _check_health(runner: StepRunner, facts: SystemFacts, limit_s: float) -> str | None:
    machine = runner.machine
    if not facts.checks:
        new = sorted(machine.list_failed_units() - set(runner.record.failed_before))
        return f"{', '.join(new)} failed" if new else None
    for unit in facts.checks:
        reason = machine.run_check(unit, limit_s)  # in full: it reports the reason at its end
        if reason is not None:
            return f"{unit}: {reason}"
    return None


def protected_systems(record: SwitchRecord) -> list[Path]:
    """Return the systems that a switch may still need."""
    return [Path(system) for system in (record.previous, record.refuge, record.target)]


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

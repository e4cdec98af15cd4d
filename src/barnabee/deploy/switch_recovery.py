"""Recovery of a switch whose executor died, hangs, or never got its confirmation.

Run periodically by a transient timer (the watchdog), with the programs of the previous system.
"""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from pathlib import Path

from barnabee.deploy import rollback, switch
from barnabee.deploy.command import DeployBusy, StepFailed
from barnabee.deploy.journal import SwitchJournal, SwitchRecord, SwitchState
from barnabee.deploy.machine import Machine
from barnabee.deploy.steps import StepRunner, wait_until_healthy


class RecoveryAction(StrEnum):
    """What the watchdog does."""

    NOTHING = "nothing"
    WAIT = "wait"
    KILL_EXECUTOR = "kill the executor"
    FINISH = "finish keeping"
    ROLL_BACK = "roll back"


def decide_recovery(
    record: SwitchRecord, *, boot_id: str, alive: bool, now_s: float
) -> RecoveryAction:
    """Return what to do about an unfinished switch. Pure.

    After a restart, and while a system waits for one, the boot gate is responsible.
    """
    if record.state == SwitchState.BOOTING or record.boot_id != boot_id:
        return RecoveryAction.NOTHING
    if alive:
        in_time = now_s <= record.deadline_s
        return RecoveryAction.WAIT if in_time else RecoveryAction.KILL_EXECUTOR
    return _completion_of(record)


def _completion_of(record: SwitchRecord) -> RecoveryAction:
    keeping = record.state == SwitchState.KEEPING
    return RecoveryAction.FINISH if keeping else RecoveryAction.ROLL_BACK


def recover_switch(machine: Machine, journal: SwitchJournal) -> SwitchRecord | None:
    """Check once; return the record of a switch that was finished or rolled back."""
    record = journal.in_flight()
    if record is None:
        with suppress(DeployBusy), journal.lock():  # if locked, a switch is about to begin
            machine.disarm_watchdog()
        return None
    action = _choose_action(machine, record)
    if action in {RecoveryAction.NOTHING, RecoveryAction.WAIT}:
        return None
    why = f"the switch stopped by itself while {record.state.value}"
    if action == RecoveryAction.KILL_EXECUTOR:
        why = f"the switch took too long while {record.state.value}"
        machine.kill_executor(record.owner)
        action = _completion_of(record)
    try:
        with journal.lock():
            record = journal.in_flight()  # it may have ended meanwhile
            return None if record is None else _complete(machine, journal, record, action, why)
    except DeployBusy:
        return None


def _choose_action(machine: Machine, record: SwitchRecord) -> RecoveryAction:
    alive = machine.is_executor_alive(record.owner)
    boot_id = machine.read_state().boot_id
    return decide_recovery(record, boot_id=boot_id, alive=alive, now_s=machine.now_s())


def _complete(
    machine: Machine, journal: SwitchJournal, record: SwitchRecord, action: RecoveryAction, why: str
) -> SwitchRecord:
    runner = StepRunner(machine, journal, record, is_rollback=True)
    runner.update(owner=machine.current_executor())
    # The machine may have restarted, and the gate have died before it recorded that.
    if action == RecoveryAction.ROLL_BACK or machine.running_system() != Path(record.target):
        return rollback.roll_back(runner, why)
    try:
        facts = machine.read_facts(Path(record.target))
        reason = wait_until_healthy(runner, facts, record.limits.settle_s)
        if reason is None:
            return switch.keep_target(runner, f"{why}, after its health check had passed")
        return rollback.roll_back(runner, f"{why}, and then {reason}")
    except StepFailed as error:
        return rollback.roll_back(runner, f"{why}; {error}")

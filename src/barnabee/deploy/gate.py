"""Boot gate, and recovery of a switch whose executor died.

A system that was tried by a boot becomes the default only here. A system that was healthy before is
never replaced because of an outage elsewhere: the gate then fails and states the reason.

Recovery is run periodically by a transient timer (the watchdog), with the programs of the previous
system.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import structlog

from barnabee.deploy import rollback, switch
from barnabee.deploy.command import DeployBusy, StepFailed
from barnabee.deploy.journal import SwitchJournal, SwitchRecord, SwitchState
from barnabee.deploy.machine import HostState, Machine, SystemFacts
from barnabee.deploy.rollback import StepRunner, wait_until_healthy

log = structlog.get_logger()


class GateAction(StrEnum):
    """What the gate does."""

    CHECK = "check"  # no switch is in progress: check the health only
    LEAVE = "leave"  # a switch that began in this boot does its own check
    TRY = "try"  # the booted system is on trial
    CLOSE = "close"  # a restart ended a switch to another system


@dataclass(frozen=True)
class GateVerdict:
    """Whether this boot is good, and why not."""

    is_good: bool
    why: str = ""
    record: SwitchRecord | None = None


def decide_gate_action(record: SwitchRecord | None, *, booted: Path, boot_id: str) -> GateAction:
    """Return what to do about the unfinished switch `record`. Pure."""
    if record is None:
        return GateAction.CHECK
    if record.boot_id == boot_id:
        return GateAction.LEAVE
    on_trial = record.profile_changed and booted == Path(record.target)
    return GateAction.TRY if on_trial else GateAction.CLOSE


def should_reboot(host: HostState, *, was_healthy: bool) -> bool:
    """Return whether to restart an unhealthy machine without a switch in progress. Pure.

    Only when the boot loader counts this boot as a trial, so that its counter ends in an older
    system, and there is one; and not if this system was healthy before, because then the cause is
    elsewhere.
    """
    return host.counted and not was_healthy and not host.is_first_system


def run_gate(machine: Machine, journal: SwitchJournal) -> GateVerdict:
    """Check this boot; may roll back and restart the machine."""
    try:
        with journal.lock():
            record = journal.in_flight()
            host = machine.read_state()
            booted = machine.running_system()
            action = decide_gate_action(record, booted=booted, boot_id=host.boot_id)
            if record is None or action == GateAction.CHECK:
                return _check_boot(machine, journal, host)
            if action == GateAction.LEAVE:
                return GateVerdict(is_good=True, why="a switch is in progress, with its own check")
            facts = machine.read_facts(booted)
            if facts:  # so that the watchdog continues if this process dies
                machine.arm_watchdog(record.limits, facts.program)
            runner = StepRunner(machine, journal, record, is_rollback=True)
            runner.update(boot_id=host.boot_id, owner=machine.current_executor())
            return _finish_trial(runner) if action == GateAction.TRY else _close_switch(runner)
    except DeployBusy as busy:
        return GateVerdict(is_good=True, why=str(busy))


def _check_boot(machine: Machine, journal: SwitchJournal, host: HostState) -> GateVerdict:
    reason = _wait_for_checks(machine, machine.read_facts(machine.running_system()))
    if reason is None:
        return GateVerdict(is_good=True)
    restart = should_reboot(host, was_healthy=journal.last_kept() == str(machine.running_system()))
    if host.is_first_system:
        reason = f"{reason}; there is no older system to return to, so this one stays"
    log.error("boot_unwell", message=reason, restart=restart)
    if restart:
        machine.reboot()
    return GateVerdict(is_good=False, why=reason)


def _wait_for_checks(machine: Machine, facts: SystemFacts | None) -> str | None:
    if facts is None:
        return "it has no etc/barnabee/deploy.json"
    settle_s = facts.limits.settle_s
    end_s = machine.now_s() + settle_s
    while True:
        reasons = (machine.run_check(unit, settle_s) for unit in facts.checks)
        reason = next((reason for reason in reasons if reason is not None), None)
        if reason is None or machine.now_s() >= end_s:
            return reason
        machine.sleep(1)


def _finish_trial(runner: StepRunner) -> GateVerdict:
    """Keep the system that was booted on trial, or roll back."""
    machine, record = runner.machine, runner.record
    facts = machine.read_facts(Path(record.target))
    if record.state != SwitchState.RETURNING:  # a failed rollback may boot the target again
        runner.enter(SwitchState.CHECKING, 2 * record.limits.settle_s, why="")
    started_s = machine.now_s()
    try:
        reason = wait_until_healthy(runner, facts, record.limits.settle_s)
        runner.record_step("check after the boot", started_s, why=reason or "")
        if reason is None:
            kept = switch.keep_target(runner, "healthy after the boot")
            return GateVerdict(is_good=True, record=kept)
    except StepFailed as error:
        reason = str(error)
    ended = rollback.roll_back(runner, reason)
    return GateVerdict(is_good=False, why=ended.why, record=ended)


def _close_switch(runner: StepRunner) -> GateVerdict:
    """Complete the rollback of a switch that a restart has ended."""
    machine, record = runner.machine, runner.record
    why = {
        SwitchState.BOOTING: "the new system did not boot, so the previous one was booted",
        SwitchState.RETURNING: record.why,
    }.get(record.state, f"the machine restarted while {record.state.value}")
    limits = record.limits
    runner.enter(SwitchState.RETURNING, limits.data_s + 2 * limits.settle_s, why=why)
    running = machine.running_system()
    facts = machine.read_facts(running)
    try:
        rollback.restore_database_for(runner, facts)
        if record.profile_changed and machine.profile_system() != Path(record.previous_profile):
            previous = Path(record.previous_profile)
            runner.run("restore the boot default", lambda: machine.set_boot_default(previous))
        rollback.start_services(runner, facts)
    except StepFailed as error:
        runner.update(refuge=str(running))
        ended = rollback.roll_back(runner, f"{why}; {error}")  # if it fails, the watchdog retries
        return GateVerdict(is_good=bool(ended.well), why=ended.why, record=ended)
    runner.update(refuge=str(running))  # the restart itself has undone the activation
    ended = rollback.finish_rollback(runner, why)
    return GateVerdict(is_good=bool(ended.well), why=ended.why, record=ended)


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

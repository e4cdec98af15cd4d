"""One switch from start to end.

    preflight -> plan -> pin -> activate -> check -> (confirmation) -> keep
                                                  any failure -> rollback

Every step is announced in the record before it runs, so that the watchdog or the boot gate can
continue wherever this process dies. The target becomes the boot default last.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from barnabee.deploy import rollback
from barnabee.deploy.command import DeployBusy, DeployRefused, StepFailed
from barnabee.deploy.journal import SwitchJournal, SwitchRecord, SwitchState
from barnabee.deploy.machine import DatabaseFacts, Machine, SystemFacts
from barnabee.deploy.plan import (
    Preflight,
    Refusal,
    SwitchAction,
    SwitchPlan,
    SwitchRequest,
    plan_switch,
)
from barnabee.deploy.rollback import StepRunner, protected_systems, wait_until_healthy

_PREFLIGHT_CHECK_S = 20.0  # short: only the choice of the fallback depends on the result
_CONFIRM_EVERY_S = 0.5


@dataclass(frozen=True)
class PreparedSwitch:
    """A plan with the preflight that it was made from."""

    preflight: Preflight
    plan: SwitchPlan | Refusal


def prepare_switch(
    machine: Machine,
    journal: SwitchJournal,
    request: SwitchRequest,
    *,
    check_running: bool = True,
) -> PreparedSwitch:
    """Inspect the machine and plan, without changes.

    Without `check_running` the running system counts as healthy.
    """
    if not machine.is_system(request.target):
        raise DeployRefused(reason=f"{request.target} has no bin/switch-to-configuration")
    running = machine.running_system()
    running_facts, target_facts = machine.read_facts(running), machine.read_facts(request.target)
    data = _find_database(running_facts, target_facts)
    last = Path(journal.last_kept() or "/nonexistent")
    preflight = Preflight(
        host=machine.read_state(),
        running=running,
        running_facts=running_facts,
        running_healthy=_is_healthy(machine, running_facts) if check_running else True,
        target_facts=target_facts,
        schema=machine.read_schema(data),
        pins=tuple(machine.list_pins(data)),
        last_kept=last if machine.is_system(last) else None,
        last_kept_facts=machine.read_facts(last),
    )
    return PreparedSwitch(preflight, plan_switch(request, preflight))


def _find_database(running: SystemFacts | None, target: SystemFacts | None) -> DatabaseFacts | None:
    return (running.data if running else None) or (target.data if target else None)


def _is_healthy(machine: Machine, facts: SystemFacts | None) -> bool:
    if facts is None:
        return False
    return all(machine.run_check(unit, _PREFLIGHT_CHECK_S) is None for unit in facts.checks)


def run_switch(
    machine: Machine, journal: SwitchJournal, request: SwitchRequest, record_id: str
) -> SwitchRecord:
    """Switch, refuse or roll back, and return the record; DeployBusy during another switch."""
    with journal.lock():
        _require_no_other(machine, journal)
        prepared = prepare_switch(machine, journal, request)
        plan, healthy = prepared.plan, prepared.preflight.running_healthy
        record = _make_record(machine, request, prepared, record_id)
        runner = StepRunner(machine, journal, record)
        if isinstance(plan, Refusal):
            return runner.finish(SwitchState.REFUSED, plan.reason, well=healthy)
        try:
            _protect_and_pin(runner, request, prepared.preflight)
        except (StepFailed, OSError) as error:
            return runner.finish(SwitchState.REFUSED, str(error), well=healthy)
        try:
            if plan.action == SwitchAction.BOOT:
                return _stage(runner, request, plan)
            return _switch(runner, prepared.preflight, plan)
        except StepFailed as error:
            return rollback.roll_back(runner, str(error))


def _require_no_other(machine: Machine, journal: SwitchJournal) -> None:
    """Cancel a switch that waits for a boot; DeployBusy for any other unfinished switch."""
    other = journal.in_flight()
    if other is not None and other.state == SwitchState.BOOTING:
        rollback.roll_back(StepRunner(machine, journal, other), "replaced by another switch")
        other = journal.in_flight()
    if other is not None:
        raise DeployBusy(id=other.id, state=other.state.value)


def _make_record(
    machine: Machine, request: SwitchRequest, prepared: PreparedSwitch, record_id: str
) -> SwitchRecord:
    preflight, plan = prepared.preflight, prepared.plan
    facts = preflight.target_facts or preflight.running_facts
    if facts is None:  # neither system has checks or limits
        raise DeployRefused(reason=plan.reason if isinstance(plan, Refusal) else "no limits")
    return SwitchRecord(
        id=record_id,
        kind=request.kind,
        state=SwitchState.PLANNED,
        target=str(request.target),
        previous=str(preflight.running),
        previous_profile=str(machine.profile_system()),
        refuge=str(plan.fallback if isinstance(plan, SwitchPlan) else preflight.running),
        boot_id=preflight.host.boot_id,
        owner=machine.current_executor(),
        started_at=machine.timestamp(),
        notes=plan.notes if isinstance(plan, SwitchPlan) else (),
        failed_before=tuple(sorted(machine.list_failed_units())),
        wants_confirmation=request.confirm,
        limits=facts.limits,
    )


def _protect_and_pin(runner: StepRunner, request: SwitchRequest, preflight: Preflight) -> None:
    """Arm the watchdog, protect the systems, pin the database; StepFailed refuses the switch."""
    record, machine = runner.record, runner.machine
    facts = preflight.running_facts or preflight.target_facts
    if facts:  # before the record: an unwatched record would block later switches
        machine.arm_watchdog(record.limits, facts.program)
    runner.enter(SwitchState.PLANNED, record.limits.data_s)
    runner.run("protect systems", lambda: machine.protect_from_gc(protected_systems(record)))
    data = preflight.running_facts.data if preflight.running_facts else None
    if data is None or request.without_pin:
        return
    reason, limit_s = f"{record.kind} {record.id}", record.limits.data_s
    pin = runner.run("pin the database", lambda: machine.pin_database(data, reason, limit_s))
    notes = () if pin else ("the database was not pinned: it does not exist, or has no pin unit",)
    runner.update(pin=pin, notes=(*runner.record.notes, *notes))


def _stage(runner: StepRunner, request: SwitchRequest, plan: SwitchPlan) -> SwitchRecord:
    machine, record = runner.machine, runner.record
    target, otherwise = Path(record.target), Path(record.previous_profile)
    runner.enter(SwitchState.STAGING, record.limits.switch_s, profile_changed=True, staged=True)
    note = runner.run("set the next boot", lambda: machine.set_boot_once(target, otherwise))
    notes = (*record.notes, note) if note else record.notes
    why = "; ".join(plan.notes) or "as requested"
    ended = runner.finish(SwitchState.BOOTING, why, notes=notes)
    if request.reboot:
        machine.reboot()
    return ended


def _switch(runner: StepRunner, preflight: Preflight, plan: SwitchPlan) -> SwitchRecord:
    machine, record, restore = runner.machine, runner.record, plan.restore
    target, limits = Path(record.target), record.limits
    data = _find_database(preflight.running_facts, preflight.target_facts)
    limit_s = limits.switch_s + (limits.data_s if restore else 0)
    runner.enter(SwitchState.ACTIVATING, limit_s, activated=True)
    if restore and data:
        runner.update(data_moved=True)
        rollback.restore_pin(runner, data, restore)
    note = runner.run("activate", lambda: machine.activate(target, limits.switch_s))
    if note:
        runner.update(notes=(*runner.record.notes, note))
    if restore and data:
        runner.run("start the services", lambda: machine.start_services(data))
    runner.enter(SwitchState.CHECKING, 2 * limits.settle_s)
    require_healthy(runner, preflight.target_facts)
    if record.wants_confirmation:
        _await_confirmation(runner)
    return keep_target(runner, "")


def require_healthy(runner: StepRunner, facts: SystemFacts | None) -> None:
    """Return once the running system is healthy; StepFailed after `settle_s`."""
    started_s = runner.machine.now_s()
    settle_s = runner.record.limits.settle_s
    reason = wait_until_healthy(runner, facts, settle_s)
    runner.record_step("check", started_s, why=reason or "")
    if reason is not None:
        raise StepFailed(what=f"the health check within {settle_s} s", reason=reason)


def _await_confirmation(runner: StepRunner) -> None:
    machine, record = runner.machine, runner.record
    started_s, limit_s = machine.now_s(), record.limits.confirm_s
    runner.enter(SwitchState.WAITING, limit_s)
    while not runner.journal.is_confirmed(record.id):
        if machine.now_s() - started_s > limit_s:
            reason = f"not confirmed within {limit_s} s: this machine may be unreachable"
            runner.record_step("confirmation", started_s, why=reason)
            raise StepFailed(what="the confirmation", reason=reason)
        machine.sleep(_CONFIRM_EVERY_S)
    runner.record_step("confirmation", started_s)


def keep_target(runner: StepRunner, why: str) -> SwitchRecord:
    """Make the healthy target the boot default and end the switch."""
    machine, record = runner.machine, runner.record
    runner.enter(SwitchState.KEEPING, record.limits.switch_s, profile_changed=True)
    runner.run("set the boot default", lambda: machine.set_boot_default(Path(record.target)))
    with suppress(StepFailed, OSError):  # the profile protects it anyway
        machine.protect_from_gc([Path(record.target)])
    return runner.finish(SwitchState.KEPT, why, well=True)

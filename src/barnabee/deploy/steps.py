"""Steps of a switch: recorded on disk before and after, run, and timed."""

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
from barnabee.deploy.machine import Machine, SystemFacts

SLACK_S = 30.0  # by which a step may exceed its limit before it counts as hung
_CHECK_EVERY_S = 2.0

T = TypeVar("T")
log = structlog.get_logger()


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

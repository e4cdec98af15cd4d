"""Executor of a switch: a transient systemd unit, or a process started from a shell.

A unit outlives the connection that requested the switch, and an activation does not stop it.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

import psutil

from barnabee.core.settings import read_variable
from barnabee.deploy import command
from barnabee.deploy.command import StepFailed, run_checked, run_command
from barnabee.deploy.journal import SwitchJournal, SwitchRecord, SwitchState
from barnabee.deploy.plan import SwitchRequest

UNIT_VARIABLE = "BARNABEE_DEPLOY_UNIT"  # set by units that run switches, to their own name
_START_S = 30.0
_STOP_S = 30.0
_POLL_S = 0.3
_GONE_AFTER_POLLS = 20  # without a unit and without a record
_RUNNING_STATES = {"active", "activating", "deactivating", "reloading"}


def make_switch_id() -> str:
    """Return a unique id that sorts by time."""
    return f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}"


def unit_name(record_id: str) -> str:
    return f"barnabee-switch-{record_id}.service"


def start_switch(request: SwitchRequest, record_id: str, program: str) -> None:
    """Start a transient unit that runs the switch; returns once it runs."""
    name = unit_name(record_id)
    run_checked(
        "systemd-run",
        f"--unit={name}",
        "--collect",
        "--no-ask-password",
        "--quiet",
        "--service-type=exec",
        f"--setenv={UNIT_VARIABLE}={name}",
        "--setenv=PATH",
        *(program, "deploys", "run", record_id),
        *switch_arguments(request),
        limit_s=_START_S,
    )


def switch_arguments(request: SwitchRequest) -> list[str]:
    """Return a request as arguments of `barnabee deploys run`."""
    fields: dict[str, Any] = asdict(request)
    flags = [f"--{name.replace('_', '-')}" for name, value in fields.items() if value is True]
    return [str(request.target), "--kind", request.kind, *flags]


def follow_switch(
    journal: SwitchJournal, record_id: str, report: Callable[[str], None]
) -> SwitchRecord:
    """Report each step; return the record once the switch has ended or waits for a boot."""
    reported = 0
    polls_without_unit = 0
    state: SwitchState | None = None
    while True:
        record = _find_record(journal, record_id)
        if record is None:
            polls_without_unit = 0 if _is_unit_alive(record_id) else polls_without_unit + 1
            if polls_without_unit > _GONE_AFTER_POLLS:
                reason = f"it ended without a record: see journalctl -u {unit_name(record_id)}"
                raise StepFailed(what=f"the switch {record_id}", reason=reason)
        else:
            for step in record.steps[reported:]:
                report(step.describe())
            reported = len(record.steps)
            if record.state != state and not record.is_final:
                report(f"  … {record.state.value}")
            state = record.state
            if record.is_final or state == SwitchState.BOOTING:
                return record
        time.sleep(_POLL_S)


def _is_unit_alive(record_id: str) -> bool:
    return command.show_property(unit_name(record_id), "ActiveState") in {"active", "activating"}


def _find_record(journal: SwitchJournal, record_id: str) -> SwitchRecord | None:
    return next((record for record in journal.list_records() if record.id == record_id), None)


def current_executor() -> str:
    """Return a name for this unit or process that is never used again."""
    unit, run_id = read_variable(UNIT_VARIABLE), read_variable("INVOCATION_ID")
    if unit and run_id:
        return f"unit {unit} {run_id}"
    return f"process {os.getpid()} {psutil.Process().create_time()}"


def is_executor_alive(name: str) -> bool:
    """Return whether another executor runs; a unit does until the last of its processes ends."""
    if not name or name == current_executor():
        return False
    kind, identity, instance = name.split(" ", 2)
    if kind == "unit":
        return (
            command.show_property(identity, "InvocationID") == instance
            and command.show_property(identity, "ActiveState") in _RUNNING_STATES
        )
    return _find_process(int(identity), float(instance)) is not None


def kill_executor(name: str) -> None:
    """Kill an executor with all its children, and wait for their end."""
    kind, identity, instance = name.split(" ", 2)
    if kind == "unit":
        run_command("systemctl", "kill", "--signal=KILL", identity, limit_s=_STOP_S)
        run_command("systemctl", "stop", identity, limit_s=_STOP_S)
        return
    parent = _find_process(int(identity), float(instance))
    if parent is None:
        return
    processes = [*parent.children(recursive=True), parent]
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(processes, timeout=_STOP_S)


def _find_process(pid: int, created: float) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        process = psutil.Process(pid)
        if process.create_time() == created and process.status() != psutil.STATUS_ZOMBIE:
            return process
    return None

"""Child processes with a time limit, systemctl and journalctl, and the errors of a switch."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from barnabee.core.errors import Misconfigured, Unavailable

_LINE_MAX_CHARS = 400
_QUERY_S = 20.0
_REASON_MAX_CHARS = 400
_HEALTHY_MARK = "\N{BLACK CIRCLE}"  # begins the lines of `barnabee health` about healthy services


class DeployRefused(Misconfigured):
    """Nothing was changed: {reason}."""

    code = "deploy_refused"


class DeployBusy(Unavailable):
    """The switch {id} is in progress ({state}): follow it with `barnabee deploys follow {id}`."""

    code = "deploy_busy"


class StepFailed(Unavailable):
    """{what} failed ({reason})."""

    code = "deploy_step_failed"


@dataclass(frozen=True)
class CommandResult:
    """Exit status and output of a program."""

    status: int
    output: str
    errors: str

    def last_line(self) -> str:
        """Return the last line of standard error, or of standard output when that is empty."""
        lines = (self.errors.strip() or self.output.strip()).splitlines() or ["no output"]
        return lines[-1].strip()[:_LINE_MAX_CHARS]


def run_command(
    *argv: str,
    limit_s: float,
    environment: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> CommandResult:
    """Run a program to its end; StepFailed when it is missing or exceeds the limit.

    Its standard error also goes to the journal. On a timeout its whole process group is killed.
    """
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL if stdin is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # makes it the leader of a process group
            env={**os.environ, **(environment or {})},
        )
    except OSError as error:
        raise StepFailed(what=argv[0], reason=error.strerror or str(error)) from error
    try:
        streams = process.communicate(stdin, timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise StepFailed(what=argv[0], reason=f"not finished within {limit_s:.0f} s") from error
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    output, errors = (stream.decode(errors="replace") for stream in streams)
    sys.stderr.write(errors)
    return CommandResult(process.returncode, output, errors)


def run_checked(
    *argv: str,
    limit_s: float,
    environment: Mapping[str, str] | None = None,
    stdin: bytes | None = None,
) -> str:
    """Run a program and return its output; StepFailed when its exit status is not 0."""
    result = run_command(*argv, limit_s=limit_s, environment=environment, stdin=stdin)
    if result.status:
        what = " ".join(argv[:3])
        raise StepFailed(what=what, reason=f"status {result.status}: {result.last_line()}")
    return result.output


def _systemctl(machine: str | None) -> tuple[str, ...]:
    return ("systemctl", "--machine", machine) if machine else ("systemctl",)


def control_units(verb: str, *units: str, limit_s: float, machine: str | None = None) -> None:
    """Start, stop or restart units and wait until that is done; StepFailed."""
    run_checked(*_systemctl(machine), verb, *units, limit_s=limit_s)


def unit_exists(unit: str, machine: str | None = None) -> bool:
    return show_property(unit, "LoadState", machine) == "loaded"


def show_property(unit: str, name: str, machine: str | None = None) -> str:
    """Return a property of a unit; StepFailed when systemd does not answer."""
    command = (*_systemctl(machine), "show", "--value", "--property", name, unit)
    return run_checked(*command, limit_s=_QUERY_S).strip()


def run_oneshot(unit: str, limit_s: float) -> str | None:
    """Run a oneshot unit again; return the reason why it failed, or None."""
    try:
        result = run_command("systemctl", "restart", unit, limit_s=limit_s)
    except StepFailed as error:
        return str(error.fields["reason"])
    return None if result.status == 0 else _read_failure(unit) or result.last_line()


def _read_failure(unit: str) -> str:
    """Return the log lines of the unit's last run, without those about healthy services."""
    try:
        run_id = show_property(unit, "InvocationID")
        output = run_checked(
            "journalctl",
            "--no-pager",
            "--output=cat",
            "--lines=30",
            f"_SYSTEMD_INVOCATION_ID={run_id}",
            limit_s=_QUERY_S,
        )
    except StepFailed:
        return ""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    lines = [line for line in lines if not line.startswith(_HEALTHY_MARK)]
    return "; ".join(lines)[:_REASON_MAX_CHARS]


def list_failed_units() -> frozenset[str]:
    command = ("systemctl", "list-units", "--state=failed", "--plain", "--no-legend", "--no-pager")
    lines = run_checked(*command, limit_s=_QUERY_S).splitlines()
    return frozenset(line.split()[0] for line in lines if line.split())


def reset_failed(pattern: str, machine: str | None = None) -> None:
    """Reset failures and start limits, so that units that failed in the old system can start."""
    run_command(*_systemctl(machine), "reset-failed", pattern, limit_s=_QUERY_S)

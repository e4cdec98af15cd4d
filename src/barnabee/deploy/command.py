"""Child processes with a time limit, and the errors of a switch."""

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

"""Runs a program with a limit, and says in one line why it failed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass

from barnabee.deploy.errors import StepFailed

_LINE_MAX_CHARS = 400


@dataclass(frozen=True)
class Done:
    """What a program left."""

    status: int
    output: str
    errors: str

    def last_line(self) -> str:
        """Return the last thing that it said."""
        lines = (self.errors.strip() or self.output.strip()).splitlines() or ["it said nothing"]
        return lines[-1].strip()[:_LINE_MAX_CHARS]


def run(*argv: str, limit_s: float, environment: Mapping[str, str] | None = None) -> Done:
    """Run to the end; StepFailed when it is missing or takes longer, and then it is gone."""
    try:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            start_new_session=True,  # so that all it started can be ended with it
            env={**os.environ, **(environment or {})},
        )
    except OSError as error:
        raise StepFailed(what=argv[0], reason=error.strerror or str(error)) from error
    try:
        output, errors = process.communicate(timeout=limit_s)
    except subprocess.TimeoutExpired as error:
        raise StepFailed(what=argv[0], reason=f"no end within {limit_s:.0f} s") from error
    finally:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    sys.stderr.write(errors)  # to the journal
    return Done(process.returncode, output, errors)


def must(*argv: str, limit_s: float, environment: Mapping[str, str] | None = None) -> str:
    """Return the output of a program that ends with 0; StepFailed with its last line otherwise."""
    done = run(*argv, limit_s=limit_s, environment=environment)
    if done.status:
        what = " ".join(argv[:3])
        raise StepFailed(what=what, reason=f"status {done.status}: {done.last_line()}")
    return done.output

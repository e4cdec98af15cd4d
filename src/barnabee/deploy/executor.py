"""Who carries out a switch: a transient unit, or a process that somebody started by hand."""

from __future__ import annotations

import os
from contextlib import suppress

import psutil

from barnabee.deploy import systemd
from barnabee.deploy.command import run

UNIT = "BARNABEE_DEPLOY_UNIT"  # in the environment of a unit that may own a switch: its name
_STOP_S = 30.0
_RUNS = {"active", "activating", "deactivating", "reloading"}


def mine() -> str:
    """Return a name for this process: it is never given twice."""
    unit, run_id = os.environ.get(UNIT), os.environ.get("INVOCATION_ID")
    if unit and run_id:
        return f"unit {unit} {run_id}"
    return f"process {os.getpid()} {psutil.Process().create_time()}"


def alive(owner: str) -> bool:
    """Return whether that one, or anything that it started, still runs; one is no owner to itself.

    A unit lives until the last of its processes is gone.
    """
    if not owner or owner == mine():
        return False
    kind, name, mark = owner.split(" ", 2)
    if kind == "unit":
        return (
            systemd.show(name, "InvocationID") == mark
            and systemd.show(name, "ActiveState") in _RUNS
        )
    return _process(int(name), float(mark)) is not None


def end(owner: str) -> None:
    """Kill it with all that it started, and wait."""
    kind, name, mark = owner.split(" ", 2)
    if kind == "unit":
        run("systemctl", "kill", "--signal=KILL", name, limit_s=_STOP_S)
        run("systemctl", "stop", name, limit_s=_STOP_S)
        return
    found = _process(int(name), float(mark))
    if found is None:
        return
    doomed = [*found.children(recursive=True), found]
    for process in doomed:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(doomed, timeout=_STOP_S)


def _process(pid: int, created: float) -> psutil.Process | None:
    with suppress(psutil.NoSuchProcess):
        found = psutil.Process(pid)
        if found.create_time() == created and found.status() != psutil.STATUS_ZOMBIE:
            return found
    return None

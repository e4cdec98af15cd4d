"""What runs, written by the runner and read by `status`, `health`, `down` and `say`.

One JSON file, replaced as a whole, and a lock that lives exactly as long as the runner does.
"""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from barnabee.core.errors import AlreadyRunning, NotRunning
from barnabee.up import orphans
from barnabee.up.paths import Paths


@dataclass
class NodeState:
    """One node as the runner last saw it."""

    phase: str = "absent"
    state: str = "unknown"
    port: int | None = None
    pid: int | None = None
    started: float | None = None  # the process's start time
    since: float = 0.0  # seconds since the epoch
    ready_s: float | None = None  # how long its last start took
    restarts: int = 0
    reason: str = ""
    blocked_by: list[str] = field(default_factory=list)
    last_lines: list[str] = field(default_factory=list)  # what it said before it failed last


@dataclass
class RunState:
    """The whole run."""

    pid: int
    started: float  # the runner's start time, which with the pid names exactly one process
    system_file: str
    phase: str = "starting"  # starting, running, stopping
    demo_home: bool = False
    asked_at: float = 0.0  # seconds since the epoch: when `up` was typed
    healthy_at: float | None = None
    healthy_s: float | None = None  # from the first node's start
    nodes: dict[str, NodeState] = field(default_factory=dict)

    @property
    def alive(self) -> bool:
        """Return whether the runner that wrote this still lives."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.started) < orphans.SAME_START_S
        except psutil.Error:
            return False
        return same and orphans.lives(process)


def of_this_process(
    system_file: str, *, demo_home: bool, nodes: dict[str, NodeState], asked_at: float = 0.0
) -> RunState:
    """Return the first state of a run whose runner is this process."""
    started = psutil.Process().create_time()
    return RunState(
        os.getpid(), started, system_file, demo_home=demo_home, asked_at=asked_at, nodes=nodes
    )


def write(paths: Paths, state: RunState) -> None:
    """Replace the state file."""
    scratch = paths.state.with_suffix(".new")
    scratch.write_text(json.dumps(asdict(state), indent=1), encoding="utf-8")
    scratch.replace(paths.state)


def read(paths: Paths) -> RunState | None:
    """Return what the last runner wrote, or None when there is nothing usable."""
    try:
        found: dict[str, Any] = json.loads(paths.state.read_text(encoding="utf-8"))
        nodes = {name: NodeState(**node) for name, node in found.pop("nodes").items()}
        return RunState(**found, nodes=nodes)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def left(paths: Paths) -> list[psutil.Process]:
    """Return the processes of this directory, whoever started them and whether he still lives."""
    run = read(paths)
    nodes = run.nodes.values() if run is not None else ()
    leaders = {one.pid: one.started for one in nodes if one.pid and one.started}
    return orphans.find(paths.run_id, leaders=leaders)


def running(paths: Paths) -> RunState:
    """Return the state of the run that is alive; NotRunning when none is."""
    state = read(paths)
    if state is None or not state.alive:
        raise NotRunning
    return state


def lock(paths: Paths) -> int:
    """Take the runner's lock until the returned descriptor is closed; AlreadyRunning otherwise."""
    handle = os.open(paths.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        state = read(paths)
        pid = state.pid if state is not None else "unknown"
        raise AlreadyRunning(pid=pid, home=paths.root) from error
    return handle


def require_none(paths: Paths) -> None:
    """Raise AlreadyRunning when a runner holds this directory."""
    os.close(lock(paths))


def runner(paths: Paths) -> psutil.Process | None:
    """Return the runner's process, or None when none is alive."""
    state = read(paths)
    if state is None or not state.alive:
        return None
    try:
        return psutil.Process(state.pid)
    except psutil.Error:
        return None

"""State of a run: written by the runner, read by `status`, `health`, `down` and `say`.

One JSON file, replaced atomically every `WRITE_EVERY_S`, and a lock file that the runner holds
while it is alive. A state older than `STALE_S` says nothing about the present.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from typing import Any

import psutil

from barnabee.core.errors import AlreadyRunning, NotRunning, StateUnknown
from barnabee.core.files import lock_file, write_atomically
from barnabee.up import orphans
from barnabee.up.paths import Paths

WRITE_EVERY_S = 2.0
STALE_S = 5.0


@dataclass
class NodeState:
    """One node as the runner last saw it."""

    phase: str = "absent"
    state: str = "unknown"
    port: int | None = None
    pid: int | None = None
    started: float | None = None  # the process's start time
    since: float = 0.0  # of `phase`, in seconds since the epoch
    ready_s: float | None = None  # how long its last start took
    restarts: int = 0
    reason: str = ""
    blocked_by: list[str] = field(default_factory=list)
    last_lines: list[str] = field(default_factory=list)  # of its log before the last failure


@dataclass
class RunState:
    """The whole run."""

    pid: int
    started: float  # the runner's start time; with the pid it identifies the process
    system_file: str
    phase: str = "starting"  # starting, running, stopping
    models: str = ""  # their directory
    demo_home: str = ""  # Home Assistant's virtual environment, with --demo-home
    monitoring: bool = False
    llm: bool = False
    written_s: float = 0.0  # on the monotonic clock, which all processes of a boot share
    asked_at: float = 0.0  # when `up` was started, in seconds since the epoch
    healthy_at: float | None = None
    healthy_s: float | None = None  # from the first node's start
    nodes: dict[str, NodeState] = field(default_factory=dict)

    @property
    def is_alive(self) -> bool:
        """Whether the runner that wrote this state is still running."""
        try:
            process = psutil.Process(self.pid)
            difference_s = abs(process.create_time() - self.started)
        except psutil.Error:
            return False
        return difference_s < orphans.START_TIME_TOLERANCE_S and orphans.is_alive(process)

    @property
    def stale_s(self) -> float | None:
        """The age of this state if it is too old to describe the present, else None."""
        age_s = time.monotonic() - self.written_s
        return age_s if age_s > STALE_S else None

    def describe_staleness(self) -> str:
        """Return a sentence if this state is too old to describe the present, else nothing."""
        age_s = self.stale_s
        return str(StateUnknown(age_s=round(age_s), pid=self.pid)) if age_s is not None else ""


def make_run_state(system_file: str, nodes: dict[str, NodeState], **fields: Any) -> RunState:
    """Return the first state of a run whose runner is this process."""
    started = psutil.Process().create_time()
    return RunState(os.getpid(), started, system_file, nodes=nodes, **fields)


def write_state(paths: Paths, state: RunState) -> None:
    state.written_s = time.monotonic()
    write_atomically(paths.state, json.dumps(asdict(state), indent=1))


def read_state(paths: Paths) -> RunState | None:
    """Return the last state, or None when the file is missing or damaged.

    Of a stale state the phases and the health are unknown.
    """
    try:
        content: dict[str, Any] = json.loads(paths.state.read_text(encoding="utf-8"))
        nodes = {name: NodeState(**node) for name, node in content.pop("nodes").items()}
        run = RunState(**content, nodes=nodes)
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None
    if run.stale_s is not None:
        for node in run.nodes.values():
            node.phase = node.state = "unknown"
            node.since = 0.0
    return run


def request_restart(paths: Paths, name: str) -> None:
    """Ask the runner to restart node `name`."""
    paths.restart_requests.mkdir(mode=0o700, exist_ok=True)
    (paths.restart_requests / name).touch(mode=0o600)


def take_restart_requests(paths: Paths) -> list[str]:
    """Return the requested nodes; the requests are deleted."""
    names = []
    for request in sorted(paths.restart_requests.glob("*")):
        with suppress(OSError):
            request.unlink()
            names.append(request.name)
    return names


def require_running(paths: Paths) -> RunState:
    """Return the state of the current run; NotRunning when there is none."""
    state = read_state(paths)
    if state is None or not state.is_alive:
        raise NotRunning
    return state


def require_current(paths: Paths) -> RunState:
    """Return the state of the current run; StateUnknown when it is too old."""
    state = require_running(paths)
    if state.stale_s is not None:
        raise StateUnknown(age_s=round(state.stale_s), pid=state.pid)
    return state


def find_runner(paths: Paths) -> psutil.Process | None:
    """Return the runner's process, or None when none is running."""
    state = read_state(paths)
    if state is None or not state.is_alive:
        return None
    try:
        return psutil.Process(state.pid)
    except psutil.Error:
        return None


def find_orphans(paths: Paths) -> list[psutil.Process]:
    """Return the processes of this directory, whether or not their runner is still running."""
    state = read_state(paths)
    nodes = state.nodes.values() if state is not None else ()
    leaders = {node.pid: node.started for node in nodes if node.pid and node.started}
    return orphans.find_processes(paths.run_id, leaders=leaders)


@contextmanager
def hold_lock(paths: Paths) -> Iterator[None]:
    """Hold the runner's lock for the block, or raise AlreadyRunning."""
    state = read_state(paths)
    pid = state.pid if state is not None else "unknown"
    with lock_file(paths.lock, mode=0o600, if_taken=AlreadyRunning(pid=pid, home=paths.root)):
        yield


def require_not_running(paths: Paths) -> None:
    """Raise AlreadyRunning when a runner holds the lock."""
    with hold_lock(paths):
        pass

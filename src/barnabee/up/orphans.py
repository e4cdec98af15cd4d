"""Processes of a run: found by a variable in their environment or by their session, and ended.

The variable finds children that left their session and grandchildren whose parents are gone; the
session finds programs that overwrote their environment. Processes are signalled through psutil
only, which checks the start time, so that a reused pid is never hit.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

import psutil

# In the environment of every process of a run: the run's id, and the node's name.
RUN_ID_VARIABLE = "BARNABEE_RUN"
NODE_VARIABLE = "BARNABEE_NODE"
GRACE_S = 3.0
# A start time is in clock ticks since boot; its conversion may differ in the last digits.
START_TIME_TOLERANCE_S = 1.0
_POLL_S = 0.02
# How long and how often `is_hung` looks, and the share of one processor below which it is idle.
_HUNG_SAMPLES, _HUNG_SAMPLE_S, _IDLE_SHARE = 4, 0.1, 0.05
_MIB = 1024 * 1024


def find_processes(
    run_id: str, node: str | None = None, leaders: Mapping[int, float] | None = None
) -> list[psutil.Process]:
    """Return the processes of the run, or of one node of it, without this process.

    `leaders` are the session leaders that the run started, as start time by pid.
    """
    sessions = {pid for pid, started in (leaders or {}).items() if _is_same(pid, started)}
    processes = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getsid(process.pid) in sessions or _has_run_id(process, run_id, node):
                processes.append(process)
    return processes


def _has_run_id(process: psutil.Process, run_id: str, node: str | None) -> bool:
    environment = process.environ()
    has_node = node in {None, environment.get(NODE_VARIABLE)}
    return environment.get(RUN_ID_VARIABLE) == run_id and has_node


def _is_same(pid: int, started: float) -> bool:
    """Return whether a session with leader `pid` is the one that began at `started`.

    True when the leader has ended: its pid is not reused while processes of its session exist.
    """
    try:
        return abs(psutil.Process(pid).create_time() - started) < START_TIME_TOLERANCE_S
    except psutil.Error:
        return True


def end_processes(processes: Iterable[psutil.Process], grace_s: float = GRACE_S) -> list[str]:
    """Send SIGTERM, then SIGKILL after `grace_s`; return `name (pid N)` of each."""
    targets = list(processes)
    names = [_describe(process) for process in targets]
    _signal(targets, signal.SIGTERM)
    kill_processes(wait_for_exit(targets, grace_s))
    return names


def kill_processes(processes: Iterable[psutil.Process]) -> None:
    """Send SIGKILL and wait until the processes have ended."""
    targets = list(processes)
    _signal(targets, signal.SIGKILL)
    wait_for_exit(targets, GRACE_S)


def kill_session(leader: int) -> None:
    """Kill the processes of a session, but not its leader."""
    members = []
    for process in psutil.process_iter():
        with suppress(OSError):
            if process.pid != leader and os.getsid(process.pid) == leader:
                members.append(process)
    kill_processes(members)


def measure_memory_mib(leaders: Iterable[int]) -> dict[int, float]:
    """Return the resident memory of each leader's session in MiB.

    A page that two processes of a session share counts twice; none of ours fork after loading.
    """
    totals = dict.fromkeys(leaders, 0.0)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            session = os.getsid(process.pid)
            if session in totals:
                totals[session] += process.memory_info().rss / _MIB
    return totals


def is_hung(leader: int) -> bool:
    """Return whether a session that does not answer hangs: it is stopped, or only sleeps.

    On a busy machine, or while it loads a model, a service may be slow to answer. But then one of
    its threads computes, waits for a processor (state R) or for a disk (D). The threads of a
    stopped process are in state T. A deadlock leaves all of them asleep (S), although a request is
    waiting.
    """
    first_s, states = _read_activity(leader)
    if states & {"T", "t"}:
        return True
    for _ in range(_HUNG_SAMPLES):
        if not states or states & {"R", "D"}:
            return False
        time.sleep(_HUNG_SAMPLE_S)
        used_s, states = _read_activity(leader)
    return used_s - first_s < _IDLE_SHARE * _HUNG_SAMPLES * _HUNG_SAMPLE_S


def _read_activity(leader: int) -> tuple[float, set[str]]:
    """Return the processor time of a session and the states of its threads (proc_pid_stat(5))."""
    ticks, states = 0, set[str]()
    for pid in psutil.pids():
        with suppress(OSError):
            if os.getsid(pid) != leader:
                continue
            for thread in Path(f"/proc/{pid}/task").iterdir():
                fields = (thread / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
                states.add(fields[0])
                ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK"), states


def wait_for_exit(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Wait until all processes have ended; return those that are still alive after `within_s`."""
    deadline_s = time.monotonic() + within_s
    while alive := [process for process in processes if is_alive(process)]:
        if time.monotonic() > deadline_s:
            return alive
        time.sleep(_POLL_S)
    return []


def is_alive(process: psutil.Process) -> bool:
    """Return whether the process has not ended; a zombie only waits for its parent."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.environ().get(NODE_VARIABLE) or process.name()} (pid {process.pid})"
    except psutil.Error:
        return f"pid {process.pid}"

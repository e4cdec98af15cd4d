"""Finds and ends the processes of a run: by the mark in their environment, and by their session.

The mark finds children that left their session and grandchildren whose parents are gone; the
session finds programs that wrote over their environment. A process is only ever signalled through
psutil, which checks its start time, so that a reused pid is never hit.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress

import psutil

from barnabee.up.node_commands import MARK, NODE

GRACE_S = 3.0
# A start time is in clock ticks since boot; the conversion may differ in its last digits.
SAME_START_S = 1.0
_POLL_S = 0.02
_MIB = 1024 * 1024


def find(
    run_id: str, node: str | None = None, leaders: Mapping[int, float] | None = None
) -> list[psutil.Process]:
    """Return the processes of the run (or of one node of it), without this one.

    `leaders` are session leaders that the run started: pid and start time.
    """
    sessions = {pid for pid, started in (leaders or {}).items() if _not_reused(pid, started)}
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if process.pid == os.getpid() or process.status() == psutil.STATUS_ZOMBIE:
                continue
            if os.getsid(process.pid) in sessions or _marked(process, run_id, node):
                found.append(process)
    return found


def _marked(process: psutil.Process, run_id: str, node: str | None) -> bool:
    environment = process.environ()
    return environment.get(MARK) == run_id and node in {None, environment.get(NODE)}


def _not_reused(pid: int, started: float) -> bool:
    """Return whether a session with leader `pid` can only be the one that began at `started`.

    A pid is not given again while a session has it, so a leader that is gone proves nothing else.
    """
    try:
        return abs(psutil.Process(pid).create_time() - started) < SAME_START_S
    except psutil.Error:
        return True


def end(processes: Iterable[psutil.Process], grace_s: float = GRACE_S) -> list[str]:
    """Ask them to stop, then kill what is left; return `name (pid N)` of each."""
    victims = list(processes)
    names = [_name(process) for process in victims]
    _signal(victims, signal.SIGTERM)
    kill(outlive(victims, grace_s))
    return names


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill them now and wait until they are gone."""
    victims = list(processes)
    _signal(victims, signal.SIGKILL)
    outlive(victims, GRACE_S)


def memory_mib(leaders: Iterable[int]) -> dict[int, float]:
    """Return the resident memory of each leader's whole session, in MiB.

    A page that two processes of a session share counts twice; none of ours fork after loading.
    """
    totals = dict.fromkeys(leaders, 0.0)
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            session = os.getsid(process.pid)
            if session in totals:
                totals[session] += process.memory_info().rss / _MIB
    return totals


def outlive(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Wait until all have ended; return those that have not by then.

    A zombie has ended: it only waits for a parent (or a container's first process) to notice.
    """
    deadline_s = time.monotonic() + within_s
    while alive := [process for process in processes if lives(process)]:
        if time.monotonic() > deadline_s:
            return alive
        time.sleep(_POLL_S)
    return []


def lives(process: psutil.Process) -> bool:
    """Return whether the process has not ended."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.Error:
        return False


def _signal(processes: Iterable[psutil.Process], number: signal.Signals) -> None:
    for process in processes:
        with suppress(psutil.Error):
            process.send_signal(number)


def _name(process: psutil.Process) -> str:
    try:
        return f"{process.environ().get(NODE) or process.name()} (pid {process.pid})"
    except psutil.Error:
        return f"pid {process.pid}"

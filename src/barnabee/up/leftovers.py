"""Finds and ends the processes of a run by the mark in their environment.

The mark survives whatever a process does: a runner that was killed, children that left their
process group, grandchildren whose parents are gone. A process is only ever signalled through
psutil, which checks its start time, so that a reused pid is never hit.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterable
from contextlib import suppress

import psutil

from barnabee.up.services import MARK, NODE

GRACE_S = 3.0
_POLL_S = 0.02
_MIB = 1024 * 1024


def find(run_id: str, node: str | None = None) -> list[psutil.Process]:
    """Return the processes of the run (or of one node of it), without this one."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            environment = process.environ() if process.pid != os.getpid() else {}
            mine = environment.get(MARK) == run_id and node in {None, environment.get(NODE)}
            if mine and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end(processes: Iterable[psutil.Process], grace_s: float = GRACE_S) -> list[str]:
    """Ask them to stop, then kill what is left; return `name (pid N)` of each."""
    victims = list(processes)
    names = [_name(process) for process in victims]
    _signal(victims, signal.SIGTERM)
    kill(_outlive(victims, grace_s))
    return names


def kill(processes: Iterable[psutil.Process]) -> None:
    """Kill them now and wait until they are gone."""
    victims = list(processes)
    _signal(victims, signal.SIGKILL)
    _outlive(victims, GRACE_S)


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


def _outlive(processes: list[psutil.Process], within_s: float) -> list[psutil.Process]:
    """Wait until all have ended; return those that have not by then.

    A zombie has ended: it only waits for a parent (or a container's first process) to notice.
    """
    deadline_s = time.monotonic() + within_s
    while alive := [process for process in processes if _lives(process)]:
        if time.monotonic() > deadline_s:
            return alive
        time.sleep(_POLL_S)
    return []


def _lives(process: psutil.Process) -> bool:
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

"""When the local house makes snapshots, does drills and copies recordings: by the clock, once each.

A machine that was off at the hour does it some minutes after it is on again. Each is a process
`barnabee backup … --gentle`, one at a time.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

import structlog

from barnabee.backup import (
    consistent_copy,
    drill_log,
    recordings_copy,
    snapshot_job,
    snapshots,
    status,
)
from barnabee.backup.status import next_at
from barnabee.core.schema import System
from barnabee.core.settings import Settings

Round = Literal["snapshot", "drill", "audio"]
# A house that has just started has better things to do.
AFTER_START_S = 600.0
FIRST_EVER_AFTER_S = 3600.0
AGAIN_AFTER_S = 3600.0
STOP_LIMIT_S = 2.0
AHEAD = timedelta(hours=1)
_LAST_WORDS_CHARS = 300

log = structlog.get_logger()


@dataclass(frozen=True)
class Known:
    """When each was last done, None for never."""

    snapshot: datetime | None
    drill: datetime | None
    audio: datetime | None


def due(system: System, known: Known, now: datetime, up_s: float, *, asked: bool) -> Round | None:
    """Return what is to be done now, the most urgent only. Pure; `now` has the house's zone."""
    if asked:
        return "drill"
    if up_s < AFTER_START_S:
        return None
    backup = system.backup
    for name, clock, last in (
        ("snapshot", backup.snapshot_at, known.snapshot),
        ("drill", backup.drill_at, known.drill),
    ):
        if last is None and up_s >= FIRST_EVER_AFTER_S:
            return name  # type: ignore[return-value]
        if last is not None and last < next_at(clock, now) - timedelta(days=1):
            return name  # type: ignore[return-value]
    every = timedelta(seconds=backup.audio_every_s)
    if backup.audio_to and (known.audio is None or now - known.audio >= every):
        return "audio"
    return None


class Rounds:
    """Starts what is due, one process at a time."""

    def __init__(
        self,
        system: System,
        settings: Settings,
        *,
        now: Callable[[], datetime] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Begin to count the time since the start."""
        self._system, self._settings, self._clock = system, settings, clock
        self._now = now or partial(status.house_now, settings)
        self._since_s = clock()
        self._failed_s: dict[str, float] = {}
        self._process: asyncio.subprocess.Process | None = None
        self._task: asyncio.Task[None] | None = None

    async def step(self) -> None:
        """Start what is due, unless something runs or it failed a short while ago."""
        if self._task is not None and not self._task.done():
            return
        known = await asyncio.to_thread(self._known)
        asked = await asyncio.to_thread(status.requested, self._settings)
        up_s = self._clock() - self._since_s
        chosen = due(self._system, known, self._now(), up_s, asked=asked)
        if chosen is None:
            return
        failed_s = self._failed_s.get(chosen)
        if failed_s is not None and self._clock() - failed_s < AGAIN_AFTER_S and not asked:
            return
        self._task = asyncio.create_task(self._run(chosen), name=f"backup-{chosen}")

    async def aclose(self) -> None:
        """Stop what runs; it leaves nothing half done."""
        if self._process is not None and self._process.returncode is None:
            self._process.terminate()
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=STOP_LIMIT_S)
            if self._process is not None and self._process.returncode is None:
                self._process.kill()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self, chosen: Round) -> None:
        arguments = [chosen] if chosen == "audio" else [chosen, "--gentle"]
        environment = {**os.environ, "CREDENTIALS_DIRECTORY": self._settings.backup_credentials}
        if chosen == "drill":
            await asyncio.to_thread(status.begun, self._settings)
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "barnabee", "backup", *arguments),
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, errors = await self._process.communicate()
        if self._process.returncode:
            self._failed_s[chosen] = self._clock()
            reason = errors.decode(errors="replace").strip()[-_LAST_WORDS_CHARS:]
            log.error("backup_round_failed", code="backup_failed", round=chosen, reason=reason)
        else:
            self._failed_s.pop(chosen, None)
            log.info("backup_round_done", round=chosen)

    def _known(self) -> Known:
        # A clock that was wrong and is set back must not keep the house waiting until it is right.
        latest = self._now() + AHEAD
        found = (one.at for one in snapshots.every(snapshot_job.folder_of(self._settings)))
        here = [at for at in found if at <= latest]
        copied = recordings_copy.state(self._settings.data_dir)
        try:
            with closing(consistent_copy.connect(self._settings.database_path, "ro")) as connection:
                last = drill_log.newest(connection)
        except sqlite3.Error:
            last = None
        drilled = datetime.fromisoformat(last.started_at) if last else None
        return Known(
            here[-1] if here else None,
            drilled if drilled and drilled <= latest else None,
            copied.before,
        )

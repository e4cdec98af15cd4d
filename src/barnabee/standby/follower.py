"""The stand-by's work: a fresh copy of the database, and of Redis, while the other machine writes.

What this machine wrote before the other took over, and never got into the replica, is set aside and
named as soon as there is a copy to compare it with.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from barnabee.core import replica_epoch
from barnabee.core.errors import BarnabeeError
from barnabee.core.redis_client import RedisLink
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.standby import bootstrap, redis_replication, replica_fetch
from barnabee.standby.state_files import Notes

LOOK_EVERY_S = 1.0
AGAIN_AFTER_S = 5.0
_STATUS = "follow.json"

log = structlog.get_logger()


@dataclass(frozen=True)
class Redises:
    """This machine's Redis, and where those of the others are, by host."""

    own: RedisLink
    others: Mapping[str, redis_replication.Address]


class Follow:
    """Follows whoever holds the lease."""

    def __init__(self, system: System, settings: Settings, notes: Notes, redises: Redises) -> None:
        """Remember where everything is; `system` is that of line 1."""
        self._system = system
        self._settings = settings
        self._notes = notes
        self._redises = redises
        self._data = settings.database_path.parent
        self._folder = self._data / bootstrap.FOLDER
        self._copy = self._folder / bootstrap.COPY

    async def run(self) -> None:
        """Follow until cancelled."""
        self._folder.mkdir(mode=0o770, exist_ok=True)
        while True:
            try:
                await self._follow(self._line())
            except (BarnabeeError, OSError) as error:
                log.warning("not_following", reason=str(error))
            await self._redis()
            await asyncio.sleep(AGAIN_AFTER_S)

    def _line(self) -> int:
        found = self._notes.told().get("line", 0)
        return found if isinstance(found, int) else 0

    async def _follow(self, line: int) -> None:
        """Follow one line, until there is a newer one or litestream ends."""
        if not line or not await replica_fetch.there_is_one(self._system, self._settings, line):
            return
        bootstrap.note_followed_line(self._folder, None)
        log_file = self._folder / "litestream.log"
        async with replica_fetch.following(
            self._system, self._settings, line, self._copy, log_file
        ) as process:
            while process.returncode is None and self._line() == line:
                await self._redis()
                await self._look(line)
                await asyncio.sleep(LOOK_EVERY_S)
        if process.returncode is not None and self._line() == line:
            words = log_file.read_text(encoding="utf-8", errors="replace").strip()[-300:]
            log.warning("follower_ended", status=process.returncode, reason=words)

    async def _look(self, line: int) -> None:
        """Say how far the copy is; once it is there, set aside what was overtaken."""
        txid = replica_fetch.txid_of(self._copy)
        if not txid:
            return
        bootstrap.note_followed_line(self._folder, line)
        status = {"line": line, "txid": txid, "at": time.time()}
        (self._folder / _STATUS).write_text(json.dumps(status), encoding="utf-8")
        path = self._settings.database_path
        if path.exists() and replica_epoch.read(self._data) < line:
            await asyncio.to_thread(bootstrap.set_aside, path, self._copy)

    async def _redis(self) -> None:
        """Let this machine's Redis copy that of the holder."""
        holder = self._notes.told().get("holder")
        address = self._redises.others.get(holder) if isinstance(holder, str) else None
        if address is None:
            return
        try:
            await redis_replication.follow(self._redises.own, address)
        except BarnabeeError as error:
            log.warning("redis_does_not_follow", reason=str(error))


def followed(data: Path) -> dict[str, object]:
    """Return what the follower last said; empty when it has said nothing."""
    try:
        found = json.loads((data / bootstrap.FOLDER / _STATUS).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

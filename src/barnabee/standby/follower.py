"""Standby follower: keeps fresh copies of the holder's database and Redis.

A local database that the other machine has superseded is set aside, with a report of the rows that
never reached the replica, as soon as there is a copy to compare it with.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import structlog

from barnabee.core.errors import BarnabeeError
from barnabee.core.redis_client import RedisClient
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.standby import bootstrap, replication
from barnabee.standby.roles import StateFiles
from barnabee.store import fence

POLL_S = 1.0
RETRY_AFTER_S = 5.0
_STATUS_NAME = "follow.json"

log = structlog.get_logger()


@dataclass(frozen=True)
class RedisEndpoints:
    """Redis of this machine, and the addresses of the others' by host."""

    own: RedisClient
    others: Mapping[str, replication.RedisAddress]


class Follower:
    """Copies from whichever machine holds the lease; `system` is that of epoch 1."""

    def __init__(
        self, system: System, settings: Settings, files: StateFiles, redis: RedisEndpoints
    ) -> None:
        self._system = system
        self._settings = settings
        self._files = files
        self._redis = redis
        self._data = settings.database_path.parent
        self._folder = self._data / bootstrap.FOLLOWER_FOLDER
        self._copy = self._folder / bootstrap.COPY_NAME

    async def run(self) -> None:
        """Run until cancelled."""
        self._folder.mkdir(mode=0o770, exist_ok=True)
        while True:
            try:
                await self._follow_epoch(self._newest_epoch())
            except (BarnabeeError, OSError) as error:
                log.warning("not_following", reason=str(error))
            await self._follow_redis()
            await asyncio.sleep(RETRY_AFTER_S)

    def _newest_epoch(self) -> int:
        epoch = self._files.read_status().get("line", 0)
        return epoch if isinstance(epoch, int) else 0

    async def _follow_epoch(self, epoch: int) -> None:
        """Follow one epoch until there is a newer one or litestream exits."""
        if not epoch or not await replication.has_data(self._system, self._settings, epoch):
            return
        bootstrap.write_followed_epoch(self._folder, None)
        log_file = self._folder / "litestream.log"
        async with replication.follow_database(
            self._system, self._settings, epoch, self._copy, log_file
        ) as process:
            while process.returncode is None and self._newest_epoch() == epoch:
                await self._follow_redis()
                await self._record_progress(epoch)
                await asyncio.sleep(POLL_S)
        if process.returncode is not None and self._newest_epoch() == epoch:
            reason = log_file.read_text(encoding="utf-8", errors="replace").strip()[-300:]
            log.warning("follower_ended", status=process.returncode, reason=reason)

    async def _record_progress(self, epoch: int) -> None:
        """Write the copy's progress, and set a superseded local database aside."""
        txid = replication.read_txid(self._copy)
        if not txid:
            return
        bootstrap.write_followed_epoch(self._folder, epoch)
        status = {"line": epoch, "txid": txid, "at": time.time()}
        (self._folder / _STATUS_NAME).write_text(json.dumps(status), encoding="utf-8")
        path = self._settings.database_path
        if path.exists() and fence.read_epoch(self._data) < epoch:
            await asyncio.to_thread(bootstrap.set_aside_database, path, self._copy)

    async def _follow_redis(self) -> None:
        holder = self._files.read_status().get("holder")
        address = self._redis.others.get(holder) if isinstance(holder, str) else None
        if address is None:
            return
        try:
            await replication.follow_redis(self._redis.own, address)
        except BarnabeeError as error:
            log.warning("redis_does_not_follow", reason=str(error))


def read_follow_status(data: Path) -> dict[str, object]:
    """Return the follower's progress; empty when it has recorded none."""
    file = data / bootstrap.FOLLOWER_FOLDER / _STATUS_NAME
    try:
        status = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return status if isinstance(status, dict) else {}

"""The proof: newest replica and newest snapshot, restored to scratch and compared.

The replica is restored at a transaction of this minute and must have what the living database had
at that very transaction: the same rows and the same hash in every table. The snapshot (from the
second place, if there is one) must be, byte for byte, the database that was fully checked when it
was packed. Both are opened as the services would. What a drill finds goes into the database.
"""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import structlog

from barnabee.backup import (
    api_usage,
    checksums,
    consistent_copy,
    drill_log,
    integrity,
    litestream,
    restore_sources,
)
from barnabee.backup.checksums import Content
from barnabee.backup.cpu_limit import Pace
from barnabee.backup.drill_log import Drill
from barnabee.backup.replica import Asked, Part, Remote
from barnabee.backup.snapshots import Tell, quiet
from barnabee.core.errors import BackupFailed, BarnabeeError, DatabaseFull, DependencyDown
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store.sqlite_errors import MIN_FREE_BYTES, free_bytes

FOLDER = ".drill"
# How long the replica may take to have the transaction that it is compared at.
REPLICATED_WITHIN_S = 60.0
_ASK_AGAIN_S = 0.25
FETCH_LIMIT_S = 3600.0

log = structlog.get_logger()


async def run(
    system: System,
    settings: Settings,
    *,
    pace: Pace | None = None,
    tell: Tell = quiet,
    asked: Asked | None = None,
) -> Drill:
    """Do the drill, write down how it went and what it asked of the store, and return how it went.

    A failure is a result too; raises only when the result itself cannot be written.
    """
    work = _Work(system, settings, pace or Pace(), tell, asked or Asked())
    done = await work.run()
    await asyncio.to_thread(drill_log.record, settings.database_path, done)
    now = datetime.now(UTC)
    await asyncio.to_thread(api_usage.add_asked, settings.data_dir, work.asked, now, work.parts)
    write = log.info if done.success else log.error
    write("drill", **done.as_dict())
    return done


def require_good(done: Drill) -> None:
    """Raise BackupFailed when the drill was not good."""
    if not done.success:
        raise BackupFailed(what="drill", step=done.step, reason=done.reason)


@dataclass
class _Work:
    system: System
    settings: Settings
    pace: Pace
    tell: Tell
    asked: Asked
    step: str = "begin"
    parts: list[Part] | None = None
    found: Drill = field(
        default_factory=lambda: Drill(
            f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}", took_ms=0, cpu_ms=0, success=False
        )
    )

    async def run(self) -> Drill:
        begun_s = time.monotonic()
        try:
            with _scratch(self.settings.data_dir, self.settings.database_path) as folder:
                await self._replica(folder / "replica.db")
                await self._snapshot(folder / "snapshot.db")
            outcome = replace(self.found, success=True)
        except (BarnabeeError, OSError, ValueError, sqlite3.Error) as error:
            code = error.code if isinstance(error, BarnabeeError) else BackupFailed.code
            reason = str(error).rstrip(".") or type(error).__name__
            outcome = replace(self.found, step=self.step, code=code, reason=reason)
        took_ms = round((time.monotonic() - begun_s) * 1000)
        return replace(outcome, took_ms=took_ms, cpu_ms=round(self.pace.used_s * 1000))

    async def _replica(self, copy: Path) -> None:
        self._at("replica: look")
        txid, expected = await asyncio.to_thread(self._living)
        self.found = replace(self.found, txid=txid, rows=expected.rows)
        await self._replicated(txid)
        self._at("replica: fetch")
        remote = Remote(self.system, self.settings, self.asked)
        self.parts = await remote.parts()
        begun_s = time.monotonic()
        await remote.fetch(copy, txid=txid, limit_s=FETCH_LIMIT_S)
        restore_ms = round((time.monotonic() - begun_s) * 1000)
        self.found = replace(self.found, restore_ms=restore_ms)
        await asyncio.to_thread(self._prove, "replica", copy, expected)

    def _living(self) -> tuple[int, Content]:
        ask = litestream.txid_asker(self.settings)
        with consistent_copy.held(self.settings.database_path, ask) as seen:
            if not seen.txid:
                raise DependencyDown(dependency="litestream", reason="it names no transaction")
            self.pace.hold(seen.connection)
            return seen.txid, checksums.read(seen.connection, self.pace.pause)

    async def _replicated(self, txid: int) -> None:
        socket, database = Path(self.settings.litestream_socket), self.settings.database_path
        deadline_s = time.monotonic() + REPLICATED_WITHIN_S
        while (await litestream.lag(socket, database)).replica_txid < txid:
            if time.monotonic() > deadline_s:
                reason = f"transaction {txid} did not reach it in {REPLICATED_WITHIN_S:.0f} s"
                raise DependencyDown(dependency="replica", reason=reason)
            await asyncio.sleep(_ASK_AGAIN_S)

    async def _snapshot(self, copy: Path) -> None:
        self._at("snapshot: look")
        source = await asyncio.to_thread(
            restore_sources.from_snapshot, self.system, self.settings, prefer_elsewhere=True
        )
        named = {"snapshot": source.snapshot.name, "offsite": source.elsewhere is not None}
        self.found = replace(self.found, **named)  # type: ignore[arg-type]
        self._at("snapshot: fetch")
        await source.fetch(copy, lambda _done, _all: self.pace.pause())
        self._at("snapshot: compare")
        expected = {name: one.rows for name, one in source.snapshot.content.tables.items()}
        if await asyncio.to_thread(integrity.counts, copy) != expected:
            raise ValueError("its tables do not have the rows that its description says")
        self._at("snapshot: open")
        await asyncio.to_thread(integrity.open_with_application, copy)

    def _prove(self, what: str, copy: Path, expected: Content) -> None:
        self.found = replace(self.found, bytes=copy.stat().st_size)
        self._at(f"{what}: check")
        integrity.check(copy, self.pace)
        self._at(f"{what}: compare")
        told = checksums.differences(expected, integrity.read(copy, self.pace))
        if told:
            raise ValueError("; ".join(told))
        self._at(f"{what}: open")
        integrity.open_with_application(copy)
        copy.unlink()

    def _at(self, step: str) -> None:
        self.step = step
        self.tell(step, 0, 0)
        self.pace.pause()


@contextmanager
def _scratch(data: Path, database: Path) -> Iterator[Path]:
    """Give a folder with room for one copy of the database, and clear it away."""
    folder = data / FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        if free_bytes(folder / "x") < 2 * consistent_copy.size_bytes(database) + MIN_FREE_BYTES:
            raise DatabaseFull(path=database)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)

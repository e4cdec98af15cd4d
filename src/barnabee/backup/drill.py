"""Restore drill: the newest replica and the newest snapshot, restored to scratch and compared.

The replica is restored at a current transaction and must equal the live database at that
transaction: the same pages, or else the same row count and hash in every table. The snapshot (an
off-site one, if there is any) must have the checksum and the rows that were recorded in it, and of
each repository a part of the data is read. Both are opened as the services would. No table may have
lost more than half of the rows that the last successful drill found (`BASELINE_FILE`), apart from
what retention deletes. The result is recorded in the database (table `drills`, migration 0003).
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from barnabee.backup import consistent_copy, integrity, litestream, restore_sources
from barnabee.backup.integrity import RowBaseline
from barnabee.backup.replica import LitestreamReplica
from barnabee.backup.restore_sources import SnapshotSource
from barnabee.backup.snapshots import StepProgress, ignore_progress
from barnabee.core.errors import (
    BackupFailed,
    BarnabeeError,
    DatabaseFull,
    DependencyDown,
    NotFound,
)
from barnabee.core.files import write_atomically
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store.sqlite import MIN_FREE_BYTES, free_bytes

SCRATCH_FOLDER = ".drill"
BASELINE_FILE = "drill-baseline.json"
EXPIRING_TABLES = ("turns", "spoken")  # deleted by the worker after retention.turns_days
# How long the replica may take to receive the transaction at which it is compared.
REPLICATION_LIMIT_S = 60.0
FETCH_LIMIT_S = 3600.0
MAX_DRILLS = 400  # more than a year of nights
TXID_LIMIT_S = 30.0  # a busy disk keeps litestream from answering for seconds
_POLL_S = 0.25

log = structlog.get_logger()


async def run_drill(
    system: System,
    settings: Settings,
    *,
    on_progress: StepProgress = ignore_progress,
    accept_collapse: bool = False,
) -> DrillResult:
    """Run the drill; record and return its result.

    A failed drill is a result; raises only when the result cannot be recorded. With
    `accept_collapse` the database's present content becomes the baseline.
    """
    result = await _DrillRun(system, settings, on_progress, accept_collapse).run()
    await asyncio.to_thread(record_drill, settings.database_path, result)
    write = log.info if result.success else log.error
    write("drill", **result.as_dict())
    return result


def require_success(result: DrillResult) -> None:
    """Raise BackupFailed when the drill failed."""
    if not result.success:
        raise BackupFailed(what="drill", step=result.step, reason=result.reason)


@dataclass
class _DrillRun:
    system: System
    settings: Settings
    on_progress: StepProgress
    accept_collapse: bool
    step: str = "begin"
    rows_by_day: dict[str, dict[str, int]] = field(default_factory=dict)
    result: DrillResult = field(
        default_factory=lambda: DrillResult(
            f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.000Z}", took_ms=0, cpu_ms=0, success=False
        )
    )

    async def run(self) -> DrillResult:
        start_s, used_s = time.monotonic(), _cpu_time_s()
        try:
            with _scratch_folder(self.settings.data_dir, self.settings.database_path) as folder:
                await self._check_replica(folder / "live.db", folder / "replica.db")
                await self._check_snapshot(folder / "snapshot.db")
            await asyncio.to_thread(self._write_baseline)
            result = replace(self.result, success=True)
        except (BarnabeeError, OSError, ValueError, sqlite3.Error) as error:
            code = error.code if isinstance(error, BarnabeeError) else BackupFailed.code
            reason = str(error).rstrip(".") or type(error).__name__
            result = replace(self.result, step=self.step, code=code, reason=reason)
        took_ms = round((time.monotonic() - start_s) * 1000)
        cpu_ms = round((_cpu_time_s() - used_s) * 1000)
        return replace(result, took_ms=took_ms, cpu_ms=cpu_ms)

    async def _check_replica(self, live: Path, copy: Path) -> None:
        self._begin_step("replica: read")
        txid = await asyncio.to_thread(self._copy_live_database, live)
        rows = {name: sum(days.values()) for name, days in self.rows_by_day.items()}
        self.result = replace(self.result, txid=txid, rows=sum(rows.values()))
        self._begin_step("database: compare")
        if not self.accept_collapse:
            self._require_no_collapse(rows)
        self._begin_step("replica: read")
        await self._wait_until_replicated(txid)
        self._begin_step("replica: fetch")
        replica, start_s = LitestreamReplica(self.system, self.settings), time.monotonic()
        await replica.fetch(copy, txid=txid, limit_s=FETCH_LIMIT_S)
        restore_ms = round((time.monotonic() - start_s) * 1000)
        self.result = replace(self.result, restore_ms=restore_ms)
        await asyncio.to_thread(self._verify_replica, copy, live)

    def _copy_live_database(self, target: Path) -> int:
        """Copy the live database; return its transaction in the replica."""
        database, read_txid = (
            self.settings.database_path,
            partial(litestream.read_txid, self.settings),
        )
        txid = consistent_copy.copy_at_transaction(database, target, read_txid, TXID_LIMIT_S)
        with closing(consistent_copy.connect_live(target, "ro")) as connection:
            self.rows_by_day = integrity.count_rows_by_day(connection)
        return txid

    async def _wait_until_replicated(self, txid: int) -> None:
        socket, database = Path(self.settings.litestream_socket), self.settings.database_path
        deadline_s = time.monotonic() + REPLICATION_LIMIT_S
        while (await litestream.measure_lag(socket, database)).replica_txid < txid:
            if time.monotonic() > deadline_s:
                reason = f"transaction {txid} did not reach it in {REPLICATION_LIMIT_S:.0f} s"
                raise DependencyDown(dependency="replica", reason=reason)
            await asyncio.sleep(_POLL_S)

    async def _check_snapshot(self, copy: Path) -> None:
        self._begin_step("snapshot: find")
        source = await asyncio.to_thread(
            restore_sources.find_snapshot_source, self.system, self.settings, prefer_offsite=True
        )
        self._begin_step("snapshot: fetch")
        await source.fetch(copy, lambda _done, _total: None)
        self._begin_step("snapshot: open")
        await asyncio.to_thread(integrity.open_with_application, copy)
        if not isinstance(source, SnapshotSource):
            return
        self.result = replace(self.result, snapshot=source.snapshot.id, offsite=source.is_offsite)
        self._begin_step("snapshot: check")
        local, *others = restore_sources.open_repositories(self.system, self.settings)
        today = datetime.now(UTC).date()
        for repository in others:
            await asyncio.to_thread(repository.check, today)
        with suppress(NotFound):  # a lost disk: the next snapshot makes it
            await asyncio.to_thread(local.check, today)

    def _require_no_collapse(self, rows: Mapping[str, int]) -> None:
        if losses := describe_collapse(self.system, self.settings, rows):
            losses += ["if it was intended, run `barnabee backup drill --accept-collapse`"]
            raise ValueError("; ".join(losses))

    def _write_baseline(self) -> None:
        text = RowBaseline(self.result.started_at, self.rows_by_day).dumps()
        write_atomically(self.settings.data_dir / BASELINE_FILE, text, mode=0o640, durable=True)

    def _verify_replica(self, copy: Path, live: Path) -> None:
        self.result = replace(self.result, bytes=copy.stat().st_size)
        self._begin_step("replica: check")
        integrity.check_integrity(copy)
        self._begin_step("replica: compare")
        if not integrity.has_equal_pages(copy, live):  # rarely: then the rows decide
            expected, actual = map(integrity.read_file_content, (live, copy))
            if differences := integrity.describe_differences(expected, actual):
                raise ValueError("; ".join(differences))
        live.unlink()
        self._begin_step("replica: open")
        integrity.open_with_application(copy)
        copy.unlink()

    def _begin_step(self, step: str) -> None:
        self.step = step
        self.on_progress(step, 0, 0)


def _cpu_time_s() -> float:
    """Return the CPU time of this process and of its children that have ended."""
    return sum(os.times()[:4])


def describe_collapse(system: System, settings: Settings, rows: Mapping[str, int]) -> list[str]:
    """Return a sentence for each table that collapsed since the last successful drill (blocks)."""
    try:
        text = (settings.data_dir / BASELINE_FILE).read_text(encoding="utf-8")
        baseline = RowBaseline.loads(text)
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        return [f"{BASELINE_FILE} cannot be read ({error})"]
    # The day on which retention ends may be deleted in part.
    oldest = datetime.now(UTC) - timedelta(days=system.retention.turns_days - 1)
    return baseline.describe_collapse(rows, dict.fromkeys(EXPIRING_TABLES, f"{oldest:%F}"))


@contextmanager
def _scratch_folder(data: Path, database: Path) -> Iterator[Path]:
    """Make a folder with room for two copies or one and its text; delete it after the block."""
    folder = data / SCRATCH_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        if free_bytes(folder / "x") < 3 * consistent_copy.size_bytes(database) + MIN_FREE_BYTES:
            raise DatabaseFull(path=database)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- The log of drills ----------------------------------------------------------------------------
# On a connection of its own: the drill is another process than the services.


@dataclass(frozen=True)
class DrillResult:
    """Result of one drill; the fields are the columns of `drills`."""

    started_at: str
    took_ms: int
    cpu_ms: int
    success: bool
    step: str | None = None
    code: str | None = None
    reason: str | None = None
    txid: int = 0
    restore_ms: int = 0
    bytes: int = 0
    rows: int = 0
    snapshot: str | None = None
    offsite: bool = False

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


_COLUMNS = tuple(DrillResult.__dataclass_fields__)


def record_drill(database: Path, drill: DrillResult) -> None:
    """Insert a result and delete all but the newest `MAX_DRILLS` (blocks)."""
    names, marks = ", ".join(_COLUMNS), ", ".join("?" for _ in _COLUMNS)
    with closing(consistent_copy.connect_live(database, "rw")) as connection:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            f"INSERT INTO drills ({names}) VALUES ({marks})",  # noqa: S608 - names of our own
            tuple(asdict(drill).values()),
        )
        connection.execute(
            "DELETE FROM drills WHERE id <= (SELECT max(id) FROM drills) - ?", (MAX_DRILLS,)
        )
        connection.execute("COMMIT")


def newest_drill(connection: sqlite3.Connection, *, successful: bool = False) -> DrillResult | None:
    """Return the last drill, or the last successful one; None when there is none."""
    return next(iter(list_drills(connection, 1, successful=successful)), None)


def list_drills(
    connection: sqlite3.Connection, count: int, *, successful: bool = False
) -> list[DrillResult]:
    """Return the last drills, or the last successful ones, newest first."""
    where = "WHERE success = 1" if successful else ""
    rows = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM drills {where} ORDER BY id DESC LIMIT ?",  # noqa: S608
        (count,),
    )
    return [_from_row(row) for row in rows]


def _from_row(row: tuple[Any, ...]) -> DrillResult:
    fields = dict(zip(_COLUMNS, row, strict=True))
    flags = {name: bool(fields[name]) for name in ("success", "offsite")}
    return DrillResult(**{**fields, **flags})

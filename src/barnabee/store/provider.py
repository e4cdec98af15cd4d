"""Provider of a process's database: opens it on demand, so that the service survives disk faults.

A disk that is read-only or full when a service starts makes the service unhealthy and does not end
it; each later request tries again. Permanent faults (damage, a newer schema) are raised by
`prepare`, before the service is up.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from barnabee.core.errors import (
    DatabaseCorrupt,
    DatabaseFull,
    DatabaseReadOnly,
    DependencyDown,
    LeaseNotHeld,
    Overloaded,
)
from barnabee.core.health import Degraded
from barnabee.store import db, fence


class DatabaseProvider:
    """The database of a process, opened at first use and reopened after it was replaced."""

    def __init__(
        self,
        path: Path,
        *,
        before_migration: db.BeforeMigration | None,
        busy_timeout_ms: int = db.BUSY_TIMEOUT_MS,
        lease_dir: str = "",
    ) -> None:
        """Open nothing yet; `lease_dir` holds the write permit, see `fence`."""
        self.path = path
        self._before_migration = before_migration
        self._check_fence = fence.make_fence(lease_dir)
        self._busy_timeout_ms = busy_timeout_ms
        self._lock = asyncio.Lock()
        self._database: db.Database | None = None
        self._existed = False

    def prepare(self) -> None:
        """Check and migrate the file now (blocks); raises only permanent faults."""
        try:
            db.prepare_database(
                self.path, self._busy_timeout_ms, self._before_migration, self._check_fence
            )
        except (DatabaseReadOnly, DatabaseFull, DependencyDown, Overloaded, LeaseNotHeld):
            return
        self._existed = True

    async def database(self) -> db.Database:
        """Return the open database; raises as `open_database` while it cannot be opened.

        A file that existed and is missing now is not replaced by an empty one.
        """
        if self._database is not None:
            return self._database
        async with self._lock:
            if self._database is None:
                if self._existed and not self.path.exists():
                    raise DatabaseCorrupt(path=self.path, reason="the file was removed")
                self._database = await db.open_database(
                    self.path,
                    busy_timeout_ms=self._busy_timeout_ms,
                    before_migration=self._before_migration,
                    check_fence=self._check_fence,
                )
                self._existed = True
            return self._database

    async def check(self) -> Degraded | None:
        """Raise when the database cannot be read and written; close it when its file was replaced.

        Degraded while this machine may not write: records wait in the queue.
        """
        database = await self.database()
        try:
            await database.check()
        except DatabaseCorrupt:
            await self.close()
            raise
        try:
            self._check_fence()
        except LeaseNotHeld as error:
            return Degraded(error.code, str(error))
        return None

    async def close(self) -> None:
        """Finish the running work and close."""
        async with self._lock:
            if self._database is not None:
                await self._database.close()
                self._database = None

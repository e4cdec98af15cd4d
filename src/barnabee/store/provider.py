"""Opens the database when it can be opened, so that a service outlives a bad moment of its disk.

A disk that is read-only or full when a service starts is a reason to be unhealthy, not to end: the
next look may find it mended. What waiting does not mend (damage, a newer schema) is raised by
`start`, before the service is up.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from barnabee.backup.consistent_copy import AskTxid, nobody_knows
from barnabee.core.errors import (
    DatabaseCorrupt,
    DatabaseFull,
    DatabaseReadOnly,
    DependencyDown,
    NotTheHolder,
    Overloaded,
)
from barnabee.core.health import Degraded
from barnabee.store import db, fence


class Keeper:
    """The one database of a process, opened when first asked for and after it was replaced."""

    def __init__(
        self,
        path: Path,
        *,
        busy_timeout_ms: int = db.BUSY_TIMEOUT_MS,
        ask_txid: AskTxid = nobody_knows,
        lease_dir: str = "",
    ) -> None:
        """Remember where it is; `ask_txid` names the moment that is pinned before a migration.

        `lease_dir` is where it is said whether this machine may write.
        """
        self.path = path
        self._ask_txid = ask_txid
        self._may_write = fence.fence(lease_dir)
        self._busy_timeout_ms = busy_timeout_ms
        self._lock = asyncio.Lock()
        self._database: db.Database | None = None
        self._seen = False

    def start(self) -> None:
        """Check and migrate the file now (blocks); raise only what waiting does not mend."""
        try:
            db.prepare(self.path, self._busy_timeout_ms, self._ask_txid, self._may_write)
        except (DatabaseReadOnly, DatabaseFull, DependencyDown, Overloaded, NotTheHolder):
            return
        self._seen = True

    async def database(self) -> db.Database:
        """Return the open database; raises as `open_database` while it cannot be opened.

        Once there was a database, a missing file is never replaced by an empty one.
        """
        if self._database is not None:
            return self._database
        async with self._lock:
            if self._database is None:
                if self._seen and not self.path.exists():
                    raise DatabaseCorrupt(path=self.path, reason="the file was removed")
                self._database = await db.open_database(
                    self.path,
                    busy_timeout_ms=self._busy_timeout_ms,
                    ask_txid=self._ask_txid,
                    may_write=self._may_write,
                )
                self._seen = True
            return self._database

    async def check(self) -> Degraded | None:
        """Return when it can be read and written; forget it when its file is not the same.

        Degraded while this machine may not write: what is to be kept waits in the queue.
        """
        database = await self.database()
        try:
            await database.check()
        except DatabaseCorrupt:
            await self.close()
            raise
        try:
            self._may_write()
        except NotTheHolder as error:
            return Degraded(error.code, str(error))
        return None

    async def close(self) -> None:
        """Finish what is being written and close."""
        async with self._lock:
            if self._database is not None:
                await self._database.close()
                self._database = None

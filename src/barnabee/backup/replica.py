"""The replica, asked through the litestream program: what it holds, and that brought back.

Litestream joins transactions after a while (`replica.compact_every_s`), so not every transaction
of the past can be restored: the ends of its files can.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from barnabee.backup import litestream
from barnabee.core.errors import BackupUnreachable, BadRequest
from barnabee.core.schema import System
from barnabee.core.settings import Settings

# Asking what there is takes one round trip a level; litestream itself would try for minutes.
ASK_LIMIT_S = 15.0
# An object that is listed and cannot be read is asked for again and again, without a word.
STALL_S = 60.0
LAST_WORDS_CHARS = 300
LEVELS = 10
SNAPSHOT_LEVEL = 9
# How S3 pages a listing, each page one call.
LISTED_AT_ONCE = 1000
_LOOK_EVERY_S = 0.2

# Of a gigabyte restored: a third less processor time than over two cores, and done no later.
_ONE_THREAD = {"GOMAXPROCS": "1"}


@dataclass(frozen=True)
class Part:
    """One file of the replica: the changes from one transaction to another."""

    level: int
    first: int
    last: int
    size_bytes: int
    at: str


@dataclass
class Asked:
    """What was asked of the object store, by Backblaze's classes."""

    b: int = 0  # downloads
    c: int = 0  # listings


@dataclass(frozen=True)
class Remote:
    """The replica of one database."""

    system: System
    settings: Settings
    asked: Asked = field(default_factory=Asked)
    stall_s: float = STALL_S

    @property
    def url(self) -> str:
        """Return its address as people read it."""
        return litestream.replica_url(self.system, self.settings)

    async def parts(self, *, limit_s: float = ASK_LIMIT_S) -> list[Part]:
        """Return all files; empty when there is no backup. Raises BackupUnreachable."""
        path = str(self.settings.database_path)
        answer = await self._ask("ltx", "-level", "all", "-json", path, limit_s=limit_s)
        found = [_part(one) for one in json.loads(answer or "[]")]
        self.asked.c += listings(found)
        return found

    async def plan(
        self, *, txid: int = 0, at: str | None = None, limit_s: float = ASK_LIMIT_S
    ) -> list[Part]:
        """Return the files that a restore would use, in order. Raises BackupUnreachable."""
        path = str(self.settings.database_path)
        which = _which(txid, at)
        answer = await self._ask(
            *("restore", "-dry-run", "-json", *which, "-o", "/dev/null/none", path),
            limit_s=limit_s,
        )
        found = [_part(one) for one in json.loads(answer)["files"]]
        self.asked.c += LEVELS
        return found

    async def fetch(
        self,
        target: Path,
        *,
        txid: int = 0,
        at: str | None = None,
        limit_s: float,
        progress: Callable[[int], None] = lambda _bytes: None,
    ) -> None:
        """Restore to the file `target`, replacing it; `progress` hears of the bytes written.

        Raises ValueError with litestream's own last words.
        """
        path = str(self.settings.database_path)
        arguments = ("restore", "-force", *_which(txid, at), "-o", str(target), path)
        scratch = target.with_name(f"{target.name}.tmp")  # where litestream writes until it is done
        running = asyncio.create_task(self._run(*arguments, limit_s=limit_s))
        try:
            await self._watch(running, scratch, progress)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
        self.asked.c += LEVELS

    async def _watch(
        self, running: asyncio.Task[str], scratch: Path, progress: Callable[[int], None]
    ) -> None:
        """Wait for the restore, but not for one that asks for a missing object again and again."""
        written, changed_s = -1, time.monotonic()
        while not running.done():
            await asyncio.wait({running}, timeout=_LOOK_EVERY_S)
            now = await asyncio.to_thread(_size, scratch)
            if now != written:
                written, changed_s = now, time.monotonic()
                progress(now)
            elif time.monotonic() - changed_s > self.stall_s:
                raise ValueError(f"no progress for {self.stall_s:.0f} s after {written} bytes")
        await running

    async def _ask(self, command: str, *arguments: str, limit_s: float) -> str:
        try:
            return await self._run(command, *arguments, limit_s=limit_s)
        except ValueError as error:
            raise BackupUnreachable(url=self.url, reason=str(error)) from error

    async def _run(self, command: str, *arguments: str, limit_s: float) -> str:
        text = litestream.litestream_config(
            self.system, self.settings, self.settings.database_path, None
        )
        with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
            config.write(text)
            config.flush()
            process = await asyncio.create_subprocess_exec(
                litestream.program(),
                *(command, "-config", config.name, "-no-expand-env", *arguments),
                env=litestream.own_environment() | _ONE_THREAD,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            try:
                async with asyncio.timeout(limit_s):
                    output, errors = await process.communicate()
            except TimeoutError as error:
                raise ValueError(f"no answer within {limit_s:.0f} s") from error
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode:
            reason = errors.decode(errors="replace").strip()[-LAST_WORDS_CHARS:]
            raise ValueError(reason or "litestream gave no reason")
        return output.decode()


def listings(parts: Sequence[Part]) -> int:
    """Return how many calls it takes to list all levels, these being all the files. Pure."""
    counts = [sum(part.level == level for part in parts) for level in range(LEVELS)]
    return sum(1 + count // LISTED_AT_ONCE for count in counts)


def restorable(parts: Sequence[Part]) -> list[int]:
    """Return the transactions that can be restored exactly, ascending. Pure.

    From each snapshot on, a file that begins at the next transaction or before leads further.
    """
    ends: set[int] = {part.last for part in parts if part.first <= 1}
    ends |= {part.last for part in parts if part.level == SNAPSHOT_LEVEL}
    for part in sorted(parts, key=lambda one: (one.first, one.last)):
        if any(part.first <= end + 1 and part.last > end for end in ends):
            ends.add(part.last)
    return sorted(ends)


def require_restorable(txid: int, parts: Sequence[Part]) -> None:
    """Raise BadRequest naming the nearest transactions when `txid` cannot be restored. Pure."""
    known = restorable(parts)
    if txid in known:
        return
    before = max((one for one in known if one < txid), default=None)
    after = min((one for one in known if one > txid), default=None)
    near = " and ".join(str(one) for one in (before, after) if one is not None)
    reason = f"transaction {txid} cannot be restored by itself any more or never was; nearest: "
    raise BadRequest(field="--txid", reason=reason + (near or "none"))


def require_moment(at: str) -> str:
    """Return `at` in the form that litestream takes; BadRequest when it is no moment. Pure."""
    try:
        found = datetime.fromisoformat(at)
    except ValueError as error:
        reason = f"{at!r} is no moment; write it like 2026-01-31T18:00:00Z"
        raise BadRequest(field="--at", reason=reason) from error
    if found.tzinfo is None:
        found = found.astimezone()  # a person's clock is the house's
    return found.isoformat(timespec="seconds")


def _which(txid: int, at: str | None) -> tuple[str, ...]:
    if txid:
        return ("-txid", f"{txid:016x}")
    return ("-timestamp", at) if at else ()


def _part(found: dict[str, object]) -> Part:
    return Part(
        int(str(found["level"])),
        int(str(found["min_txid"]), 16),
        int(str(found["max_txid"]), 16),
        int(str(found["size"])),
        str(found["timestamp"]),
    )


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # not there yet, or done
        return 0

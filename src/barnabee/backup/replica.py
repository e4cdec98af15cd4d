"""Replica of the database in the object store, read through the litestream program.

Litestream compacts transactions (`replica.compact_every_s`), so not every past transaction can be
restored: only those at which one of its files ends.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from barnabee.backup import litestream, restic
from barnabee.core.errors import BackupUnreachable, BadRequest, DependencyDown
from barnabee.core.schema import System
from barnabee.core.settings import Settings, require_credential

# Listing takes one round trip a level; litestream itself would retry for minutes.
REQUEST_LIMIT_S = 15.0
# Litestream requests an object that is listed and unreadable again and again, without a message.
STALL_LIMIT_S = 60.0
STDERR_MAX_CHARS = 300
SNAPSHOT_LEVEL = 9
_POLL_S = 0.2
RESET_LIMIT_S = 1800.0
_RCLONE_REMOTE = "replica"

# A restore of 1 GB takes a third less CPU time than on two cores and is not slower.
_ONE_THREAD = {"GOMAXPROCS": "1"}

log = structlog.get_logger()


@dataclass(frozen=True)
class LtxFile:
    """One LTX file of the replica: the changes from transaction `first` to `last`."""

    level: int
    first: int
    last: int
    size_bytes: int
    at: str


@dataclass(frozen=True)
class LitestreamReplica:
    """The replica of this installation's database."""

    system: System
    settings: Settings
    stall_s: float = STALL_LIMIT_S

    @property
    def url(self) -> str:
        """Return the address, for messages."""
        return litestream.replica_url(self.system, self.settings)

    async def list_files(self, *, limit_s: float = REQUEST_LIMIT_S) -> list[LtxFile]:
        """Return all LTX files; empty when there is no backup. Raises BackupUnreachable."""
        path = str(self.settings.database_path)
        answer = await self._query("ltx", "-level", "all", "-json", path, limit_s=limit_s)
        return [_parse_file(entry) for entry in json.loads(answer or "[]")]

    async def plan_restore(
        self, *, txid: int = 0, at: str | None = None, limit_s: float = REQUEST_LIMIT_S
    ) -> list[LtxFile]:
        """Return the files that a restore would use, in order. Raises BackupUnreachable."""
        path = str(self.settings.database_path)
        target = _restore_arguments(txid, at)
        answer = await self._query(
            *("restore", "-dry-run", "-json", *target, "-o", "/dev/null/none", path),
            limit_s=limit_s,
        )
        return [_parse_file(entry) for entry in json.loads(answer)["files"]]

    async def fetch(
        self,
        target: Path,
        *,
        txid: int = 0,
        at: str | None = None,
        limit_s: float,
        on_progress: Callable[[int], None] = lambda _bytes: None,
    ) -> None:
        """Restore to the file `target`, replacing it; `on_progress` gets the bytes written so far.

        Raises ValueError with the end of litestream's stderr.
        """
        path = str(self.settings.database_path)
        arguments = ("restore", "-force", *_restore_arguments(txid, at), "-o", str(target), path)
        scratch = target.with_name(f"{target.name}.tmp")  # where litestream writes until it is done
        running = asyncio.create_task(self._run(*arguments, limit_s=limit_s))
        try:
            await self._watch(running, scratch, on_progress)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _watch(
        self, running: asyncio.Task[str], scratch: Path, on_progress: Callable[[int], None]
    ) -> None:
        """Wait for the restore; ValueError when it makes no progress for `stall_s`."""
        written, changed_s = -1, time.monotonic()
        while not running.done():
            await asyncio.wait({running}, timeout=_POLL_S)
            now = await asyncio.to_thread(_size_bytes, scratch)
            if now != written:
                written, changed_s = now, time.monotonic()
                on_progress(now)
            elif time.monotonic() - changed_s > self.stall_s:
                raise ValueError(f"no progress for {self.stall_s:.0f} s after {written} bytes")
        await running

    async def _query(self, command: str, *arguments: str, limit_s: float) -> str:
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
                litestream.find_program(),
                *(command, "-config", config.name, "-no-expand-env", *arguments),
                env=litestream.environment_with_credentials() | _ONE_THREAD,
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
            reason = errors.decode(errors="replace").strip()[-STDERR_MAX_CHARS:]
            raise ValueError(reason or "litestream gave no reason")
        return output.decode()


def list_restorable_txids(files: Sequence[LtxFile]) -> list[int]:
    """Return the transactions that can be restored exactly, ascending. Pure.

    After each snapshot, a file that begins at the next transaction or earlier extends the range.
    """
    ends: set[int] = {file.last for file in files if file.first <= 1}
    ends |= {file.last for file in files if file.level == SNAPSHOT_LEVEL}
    for file in sorted(files, key=lambda file: (file.first, file.last)):
        if any(file.first <= end + 1 and file.last > end for end in ends):
            ends.add(file.last)
    return sorted(ends)


def require_restorable(txid: int, files: Sequence[LtxFile]) -> None:
    """Raise BadRequest naming the nearest transactions when `txid` cannot be restored. Pure."""
    known = list_restorable_txids(files)
    if txid in known:
        return
    before = max((other for other in known if other < txid), default=None)
    after = min((other for other in known if other > txid), default=None)
    near = " and ".join(str(other) for other in (before, after) if other is not None)
    reason = f"transaction {txid} does not exist or can no longer be restored; nearest: "
    raise BadRequest(field="--txid", reason=reason + (near or "none"))


def describe_gap(files: Sequence[LtxFile]) -> str | None:
    """Return which transactions are missing and what can be restored; None when none are. Pure."""
    ends = list_restorable_txids(files)
    end = ends[-1] if ends else 0
    later = [file.first for file in files if file.first > end]
    if not later:
        return None
    first, last = end + 1, min(later) - 1
    missing = f"transaction {first} is" if first == last else f"transactions {first} to {last} are"
    upto = f"up to transaction {end} with `--txid {end}`, or " if end else ""
    return f"{missing} missing; restore {upto}the newest snapshot with `--from snapshot`"


def normalize_time(at: str) -> str:
    """Return the time `at` in litestream's format, local without a zone. Pure.

    Raises BadRequest when it is not a time.
    """
    try:
        found = datetime.fromisoformat(at)
    except ValueError as error:
        reason = f"{at!r} is not a time; write it like 2026-01-31T18:00:00Z"
        raise BadRequest(field="--at", reason=reason) from error
    if found.tzinfo is None:
        found = found.astimezone()
    return found.isoformat(timespec="seconds")


def _restore_arguments(txid: int, at: str | None) -> tuple[str, ...]:
    if txid:
        return ("-txid", f"{txid:016x}")
    return ("-timestamp", at) if at else ()


def _parse_file(found: dict[str, object]) -> LtxFile:
    return LtxFile(
        int(str(found["level"])),
        int(str(found["min_txid"]), 16),
        int(str(found["max_txid"]), 16),
        int(str(found["size"])),
        str(found["timestamp"]),
    )


def _size_bytes(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # not there yet, or done
        return 0


def reset_replica(system: System, settings: Settings, now: datetime) -> str:
    """Rename the damaged replica's folder in the bucket and return its new name; blocks.

    Litestream 0.5.17 whose database is behind the replica first fetches the last transactions from
    there; when those are damaged it never gets further. Nothing is deleted. Raises DependencyDown;
    files that were moved by then have the new name.
    """
    section = system.replica
    new_path = f"{section.path}.damaged-{now:%Y%m%dT%H%M%SZ}"
    options = {
        "TYPE": "s3",
        "PROVIDER": "Other",
        "ENDPOINT": litestream.replica_endpoint(system, settings),
        "REGION": section.region,
        "ACCESS_KEY_ID": require_credential("b2_key_id"),
        "SECRET_ACCESS_KEY": require_credential("b2_application_key"),
        "FORCE_PATH_STYLE": "true",
    }
    environment = {
        f"RCLONE_CONFIG_{_RCLONE_REMOTE.upper()}_{name}": value for name, value in options.items()
    }
    root = f"{_RCLONE_REMOTE}:{section.bucket}"
    command = [restic.find_rclone(), "--config", "/dev/null", "--retries", "2"]
    reason = f"no answer within {RESET_LIMIT_S:.0f} s"
    with suppress(subprocess.TimeoutExpired):
        done = subprocess.run(
            [*command, "move", f"{root}/{section.path}", f"{root}/{new_path}"],
            capture_output=True,
            text=True,
            env=restic.make_environment(environment),
            timeout=RESET_LIMIT_S,
            check=False,
        )
        reason = (done.stderr.strip() or "rclone gave no reason") if done.returncode else ""
    if reason:
        dependency = litestream.replica_url(system, settings)
        raise DependencyDown(dependency=dependency, reason=reason[-STDERR_MAX_CHARS:])
    log.warning("replica_put_aside", code="backup_damaged", bucket=section.bucket, aside=new_path)
    return new_path

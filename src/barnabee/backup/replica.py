"""Replica of the database in the object store, read through the litestream program."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import structlog

from barnabee.backup import integrity, litestream, store_probe
from barnabee.backup.store_probe import LtxFile, choose_needed, list_restorable_txids, parse_object
from barnabee.clients.s3 import classify_store_error
from barnabee.core.errors import BackupDamaged, BadRequest, DatabaseFull, StoreFailed
from barnabee.core.schema import System
from barnabee.core.settings import Settings

# Of a list or a plan; litestream itself would retry for minutes.
REQUEST_LIMIT_S = 15.0
# Litestream requests an object that is listed and unreadable again and again, without a message.
STALL_LIMIT_S = 60.0
STDERR_MAX_CHARS = 300
_LOCAL_FAILURE = "no space left on device"
_POLL_S = 0.2

# A restore of 1 GB takes a third less CPU time than on two cores and is not slower.
_ONE_THREAD = {"GOMAXPROCS": "1"}

log = structlog.get_logger()


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
        """Return all LTX files; empty when there is no backup. Raises StoreFailed."""
        # Litestream's own list repeats a failed request without a message, and is 10 requests.
        bucket = store_probe.open_bucket(self.system, self.settings, limit_s=limit_s)
        prefix = f"{self.system.replica.path}/"
        found = await bucket.list_objects(prefix)
        return [file for entry in found if (file := parse_object(entry, prefix))]

    async def plan_restore(
        self, *, txid: int = 0, at: str | None = None, limit_s: float = REQUEST_LIMIT_S
    ) -> list[LtxFile]:
        """Return the files that a restore would use, in order. Raises StoreFailed."""
        path = str(self.settings.database_path)
        target = _restore_arguments(txid, at)
        answer = await self._run(
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

        Raises StoreFailed with the end of litestream's stderr, DatabaseFull.
        """
        source = str(self.settings.database_path)
        arguments = ("restore", "-force", *_restore_arguments(txid, at), "-o", str(target), source)
        try:
            await self._restore(arguments, target, limit_s, on_progress)
        except StoreFailed as error:
            await self._raise_own_error(error)
            raise

    async def _raise_own_error(self, error: StoreFailed) -> None:
        """Raise the store's own error, where litestream has only waited for an answer."""
        if error.fault == "unreachable":
            files = await self.list_files()
            bucket = store_probe.open_bucket(self.system, self.settings, limit_s=REQUEST_LIMIT_S)
            for file in choose_needed(files)[-1:]:
                await bucket.get(file.key(self.system.replica.path), max_bytes=file.size_bytes)

    async def fetch_intact(
        self,
        target: Path,
        *,
        txid: int = 0,
        limit_s: float,
        on_progress: Callable[[int], None] = lambda _bytes: None,
        is_checked: bool = True,
    ) -> None:
        """Like `fetch`, with a second opinion and, if `is_checked`, a check of the database.

        Raises BackupDamaged only when two reads agree, one of them with another client than
        litestream; StoreFailed when a later attempt may succeed.
        """
        damages, end_s = 0, time.monotonic() + limit_s
        for fetch in (self.fetch, self._fetch_downloaded, self._fetch_downloaded):
            try:
                left_s = max(1.0, end_s - time.monotonic())
                await fetch(target, txid=txid, limit_s=left_s, on_progress=on_progress)
                if is_checked:
                    await asyncio.to_thread(integrity.check_integrity, target)
            except (StoreFailed, ValueError) as error:
                fault = "damaged" if isinstance(error, ValueError) else error.fault
                is_damage = fault == "damaged"
                log.warning("replica_not_fetched", code=f"store_{fault}", reason=str(error))
                damages += is_damage
                if damages > 1:
                    raise BackupDamaged(url=self.url, reason=str(error)) from error
                if not is_damage and fetch != self.fetch:
                    raise
            else:
                return

    async def _fetch_downloaded(
        self, target: Path, *, txid: int, limit_s: float, on_progress: Callable[[int], None]
    ) -> None:
        """Restore from files that another client has downloaded complete."""
        folder = target.with_name(f"{target.name}.downloaded")
        source = str(self.settings.database_path)
        try:
            bucket = store_probe.open_bucket(self.system, self.settings, limit_s=limit_s)
            files = await self.list_files(limit_s=limit_s)
            await self.require_honest_list(files)
            for file in choose_needed(files, txid):
                part = folder / "ltx" / str(file.level) / file.name
                part.parent.mkdir(parents=True, exist_ok=True)
                await bucket.download(file.key(self.system.replica.path), part)
            replica = {"type": "file", "path": str(folder)}
            config = json.dumps({"dbs": [{"path": source, "replica": replica}]})
            arguments = ("restore", "-force", *_restore_arguments(txid, None), "-o", str(target))
            await self._restore((*arguments, source), target, limit_s, on_progress, config)
        finally:
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def require_honest_list(self, files: Sequence[LtxFile]) -> None:
        """Raise StoreFailed when the store has newer transactions than it lists."""
        bucket = store_probe.open_bucket(self.system, self.settings, limit_s=REQUEST_LIMIT_S)
        ends = list_restorable_txids(files)
        last = ends[-1] if ends else 0
        await store_probe.require_honest_list(bucket, self.system.replica.path, last)

    async def _restore(
        self,
        arguments: Sequence[str],
        target: Path,
        limit_s: float,
        on_progress: Callable[[int], None],
        config: str | None = None,
    ) -> None:
        scratch = target.with_name(f"{target.name}.tmp")  # where litestream writes until it is done
        running = asyncio.create_task(self._run(*arguments, limit_s=limit_s, config_text=config))
        try:
            await self._watch(running, scratch, on_progress)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    async def _watch(
        self, running: asyncio.Task[str], scratch: Path, on_progress: Callable[[int], None]
    ) -> None:
        """Wait for the restore; StoreFailed when it makes no progress for `stall_s`."""
        written, changed_s = -1, time.monotonic()
        while not running.done():
            await asyncio.wait({running}, timeout=_POLL_S)
            now = await asyncio.to_thread(_size_bytes, scratch)
            if now != written:
                written, changed_s = now, time.monotonic()
                on_progress(now)
            elif time.monotonic() - changed_s > self.stall_s:
                raise self._failed(f"no progress for {self.stall_s:.0f} s after {written} bytes")
        await running

    def _failed(self, text: str) -> StoreFailed:
        """Return the error that `text`, all that litestream has written, stands for."""
        reason = text[-STDERR_MAX_CHARS:] or "litestream gave no reason"
        return StoreFailed(classify_store_error(text), reason, dependency=f"the replica {self.url}")

    async def _run(
        self, command: str, *arguments: str, limit_s: float, config_text: str | None = None
    ) -> str:
        text = config_text or litestream.litestream_config(
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
                raise self._failed(f"no answer within {limit_s:.0f} s") from error
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode:
            text = errors.decode(errors="replace").strip()
            if _LOCAL_FAILURE in text:
                raise DatabaseFull(path=self.settings.database_path)
            if config_text is not None:  # complete files: no transfer can have failed
                raise ValueError(text[-STDERR_MAX_CHARS:])
            raise self._failed(text)
        return output.decode()


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

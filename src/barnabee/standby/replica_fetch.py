"""Copies of a line of the database out of its replica, beside the database, not in its place."""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from barnabee.backup import integrity, litestream
from barnabee.core import replica_epoch
from barnabee.core.errors import BackupDamaged, BackupUnreachable
from barnabee.core.schema import System
from barnabee.core.settings import Settings

ASK_LIMIT_S = 15.0
LAST_WORDS_CHARS = 300


async def there_is_one(system: System, settings: Settings, line: int) -> bool:
    """Return whether the replica of `line` holds anything; BackupUnreachable."""
    path = str(settings.database_path)
    answer = await _run(
        system, settings, line, "ltx", "-level", "all", "-json", path, limit_s=ASK_LIMIT_S
    )
    return bool(json.loads(answer or "[]"))


async def fetch(
    system: System, settings: Settings, line: int, copy: Path, *, limit_s: float
) -> None:
    """Put the newest of `line` at `copy`, checked; BackupUnreachable, BackupDamaged."""
    source = str(settings.database_path)
    await _run(
        *(system, settings, line, "restore", "-force", "-o", str(copy), source), limit_s=limit_s
    )
    try:
        await asyncio.to_thread(integrity.check, copy)
    except ValueError as error:
        url = litestream.replica_url(replica_epoch.at(system, line), settings)
        raise BackupDamaged(url=url, reason=str(error)) from error


@asynccontextmanager
async def following(
    system: System, settings: Settings, line: int, copy: Path, log: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Keep `copy` fresh with what is written to `line`, while inside.

    It begins anew each time: litestream 0.5.17 refuses to resume a copy that is ahead of the
    newest snapshot, which it is after the first change.
    """
    for part in ("", "-wal", "-shm", "-txid"):
        copy.with_name(copy.name + part).unlink(missing_ok=True)
    interval = ("-f", "-follow-interval", f"{system.standby.follow_s}s")
    with _configured(system, settings, line) as config, log.open("wb") as words:
        process = await asyncio.create_subprocess_exec(
            litestream.program(),
            *("restore", "-config", config, "-no-expand-env", *interval),
            *("-o", str(copy), str(settings.database_path)),
            env=litestream.own_environment(),
            stdout=words,
            stderr=words,
        )
        try:
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
                try:
                    async with asyncio.timeout(5):
                        await process.wait()
                except TimeoutError:
                    process.kill()
                    await process.wait()


def txid_of(copy: Path) -> int:
    """Return the transaction that a followed copy has reached; 0 when there is none yet."""
    try:
        return int(copy.with_name(f"{copy.name}-txid").read_text(encoding="ascii"), 16)
    except (OSError, ValueError):
        return 0


async def _run(
    system: System, settings: Settings, line: int, command: str, *arguments: str, limit_s: float
) -> str:
    url = litestream.replica_url(replica_epoch.at(system, line), settings)
    with _configured(system, settings, line) as config:
        process = await asyncio.create_subprocess_exec(
            litestream.program(),
            *(command, "-config", config, "-no-expand-env", *arguments),
            env=litestream.own_environment(),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(limit_s):
                output, errors = await process.communicate()
        except TimeoutError as error:
            reason = f"no answer within {limit_s:.0f} s"
            raise BackupUnreachable(url=url, reason=reason) from error
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
    if process.returncode:
        reason = errors.decode(errors="replace").strip()[-LAST_WORDS_CHARS:]
        raise BackupUnreachable(url=url, reason=reason or "litestream gave no reason")
    return output.decode()


@contextmanager
def _configured(system: System, settings: Settings, line: int) -> Iterator[str]:
    """Give the name of litestream's configuration for one line, while inside."""
    text = litestream.litestream_config(
        replica_epoch.at(system, line), settings, settings.database_path, None
    )
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
        config.write(text)
        config.flush()
        yield config.name

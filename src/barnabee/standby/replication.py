"""Replication from the lease holder: database epochs from their replica, and Redis by REPLICAOF.

A copied database lies beside the local one. Starting Redis replication wipes the local data, so
jobs that were accepted here and not finished are first handed over to the holder's queue; that is
safe because every job may run twice.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import structlog

from barnabee.backup import integrity, litestream
from barnabee.clients.queue import JOB_KEY_PREFIX, QUEUE_KEY
from barnabee.core.errors import BackupDamaged, BackupUnreachable
from barnabee.core.redis_client import RedisClient, add_password
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store import fence

LIST_LIMIT_S = 15.0
ERROR_CHARS = 300
DEAD_LETTERS = "barnabee:set-aside"  # as in workers.retry, which must not be imported here
JOBS_PER_BATCH = 100

RedisAddress = tuple[str, int]

log = structlog.get_logger()


async def has_data(system: System, settings: Settings, epoch: int) -> bool:
    """Return whether the replica of `epoch` has any data; BackupUnreachable."""
    path = str(settings.database_path)
    answer = await _run(
        system, settings, epoch, "ltx", "-level", "all", "-json", path, limit_s=LIST_LIMIT_S
    )
    return bool(json.loads(answer or "[]"))


async def fetch_database(
    system: System, settings: Settings, epoch: int, copy: Path, *, limit_s: float
) -> None:
    """Restore the newest state of `epoch` to `copy` and check its integrity.

    Raises BackupUnreachable or BackupDamaged.
    """
    source = str(settings.database_path)
    await _run(
        *(system, settings, epoch, "restore", "-force", "-o", str(copy), source), limit_s=limit_s
    )
    try:
        await asyncio.to_thread(integrity.check_integrity, copy)
    except ValueError as error:
        url = litestream.replica_url(fence.with_epoch(system, epoch), settings)
        raise BackupDamaged(url=url, reason=str(error)) from error


@asynccontextmanager
async def follow_database(
    system: System, settings: Settings, epoch: int, copy: Path, log_file: Path
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Apply what is written to `epoch` to `copy` for the duration of the block.

    Starts from an empty copy each time: litestream 0.5.17 refuses to resume a copy that is ahead
    of the newest snapshot, which it is after the first change.
    """
    for part in ("", "-wal", "-shm", "-txid"):
        copy.with_name(copy.name + part).unlink(missing_ok=True)
    interval = ("-f", "-follow-interval", f"{system.standby.follow_s}s")
    with _litestream_config_file(system, settings, epoch) as config, log_file.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            litestream.find_program(),
            *("restore", "-config", config, "-no-expand-env", *interval),
            *("-o", str(copy), str(settings.database_path)),
            env=litestream.environment_with_credentials(),
            stdout=output,
            stderr=output,
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


def read_txid(copy: Path) -> int:
    """Return the transaction id that a followed copy has reached; 0 before the first."""
    try:
        return int(copy.with_name(f"{copy.name}-txid").read_text(encoding="ascii"), 16)
    except (OSError, ValueError):
        return 0


async def _run(
    system: System, settings: Settings, epoch: int, command: str, *arguments: str, limit_s: float
) -> str:
    url = litestream.replica_url(fence.with_epoch(system, epoch), settings)
    with _litestream_config_file(system, settings, epoch) as config:
        process = await asyncio.create_subprocess_exec(
            litestream.find_program(),
            *(command, "-config", config, "-no-expand-env", *arguments),
            env=litestream.environment_with_credentials(),
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
        reason = errors.decode(errors="replace").strip()[-ERROR_CHARS:]
        raise BackupUnreachable(url=url, reason=reason or "litestream gave no reason")
    return output.decode()


@contextmanager
def _litestream_config_file(system: System, settings: Settings, epoch: int) -> Iterator[str]:
    """Write litestream's configuration for one epoch; yield its path."""
    text = litestream.litestream_config(
        fence.with_epoch(system, epoch), settings, settings.database_path, None
    )
    with tempfile.NamedTemporaryFile("w", suffix=".yml") as config:
        config.write(text)
        config.flush()
        yield config.name


async def follow_redis(own: RedisClient, holder: RedisAddress) -> bool:
    """Make `own` a replica of the Redis at `holder`; False if it was already. DependencyDown."""
    if await read_redis_master(own) == holder:
        return False
    target = RedisClient(add_password(f"redis://{holder[0]}:{holder[1]}/0", "peer"))
    try:
        count = await hand_over_jobs(own, target)
    finally:
        await target.aclose()
    await own.replicaof(*holder)
    log.info("redis_follows", holder=f"{holder[0]}:{holder[1]}", jobs_handed_over=count)
    return True


async def promote_redis(own: RedisClient) -> bool:
    """Make `own` a master; False if it was already. DependencyDown."""
    if await read_redis_master(own) is None:
        return False
    await own.replicaof("NO", "ONE")
    log.info("redis_promoted")
    return True


async def read_redis_master(client: RedisClient) -> RedisAddress | None:
    """Return the address of the master that a Redis replicates; None when it is a master."""
    return parse_redis_role(await client.role())


def parse_redis_role(response: Sequence[Any]) -> RedisAddress | None:
    """Return the master's address from a response to ROLE; None for a master."""
    if not response or bytes(response[0]) != b"slave":
        return None
    return bytes(response[1]).decode(), int(response[2])


async def hand_over_jobs(own: RedisClient, target: RedisClient) -> int:
    """Copy the jobs of `own` that the queue of `target` lacks; return how many were sent.

    A replica's jobs are its master's, so there is nothing to copy.
    """
    if await read_redis_master(own) is not None:
        return 0
    count = 0
    jobs = await own.zrange(QUEUE_KEY, 0, -1, withscores=True)
    for start in range(0, len(jobs), JOBS_PER_BATCH):
        batch = jobs[start : start + JOBS_PER_BATCH]
        contents = await own.mget([JOB_KEY_PREFIX.encode() + job_id for job_id, _ in batch])
        for (job_id, score), content in zip(batch, contents, strict=True):
            if content is not None:
                pipeline = target.pipeline()
                pipeline.set(JOB_KEY_PREFIX.encode() + job_id, content, nx=True)
                pipeline.zadd(QUEUE_KEY, {job_id: score}, nx=True)
                await pipeline.execute()
                count += 1
    letters = await own.execute_command("HGETALL", DEAD_LETTERS)
    for job_id, letter in letters.items():
        await target.execute_command("HSETNX", DEAD_LETTERS, job_id, letter)
    return count

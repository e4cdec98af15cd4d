"""Forgets turns and audio that are older than `retention` in system.toml allows."""

from __future__ import annotations

import asyncio
import stat
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import structlog

from barnabee.store.conversations import Conversations, timestamp
from barnabee.store.spoken import SpokenTurns
from barnabee.workers.context import Context

log = structlog.get_logger()


async def expire_old(context: Context, _payload: dict[str, Any]) -> None:
    """Delete old turns and audio files; facts stay until somebody says to forget them."""
    now = context.clock()
    oldest_audio = now - timedelta(days=context.retention.audio_days)
    files, refused = await asyncio.to_thread(_delete_older, context.audio_dir, oldest_audio)
    oldest_turn = timestamp(now - timedelta(days=context.retention.turns_days))
    database = await context.keeper.database()
    turns = await Conversations(database).expire(oldest_turn)
    await SpokenTurns(database).expire(oldest_turn)
    log.info("expired", turns=turns, audio_files=files, audio_files_refused=refused)


def _delete_older(directory: Path, oldest: datetime) -> tuple[int, int]:
    """Return how many files went and how many would not; links are left alone."""
    deleted = refused = 0
    for path in sorted(directory.rglob("*")):
        try:
            found = path.lstat()
            if stat.S_ISREG(found.st_mode) and found.st_mtime < oldest.timestamp():
                path.unlink()
                deleted += 1
        except FileNotFoundError:
            continue
        except OSError as error:
            refused += 1
            log.warning("audio_not_deleted", code="unavailable", reason=str(error))
    return deleted, refused

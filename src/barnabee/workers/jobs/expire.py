"""Forgets turns and recordings that are older than `retention` in system.toml allows."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import structlog

from barnabee.store import recordings
from barnabee.store.conversations import Conversations, timestamp
from barnabee.store.turn_timings import SpokenTurns
from barnabee.workers.context import Context

log = structlog.get_logger()


async def expire_old(context: Context, _payload: dict[str, Any]) -> None:
    """Delete old turns and recordings; facts stay until somebody says to forget them.

    Recordings go whether or not recording is still enabled, but where they are copied to the
    house's storage, none before it was.
    """
    now = context.clock()
    days = context.retention.audio_days
    before = await asyncio.to_thread(context.copied_before)
    gone = await asyncio.to_thread(recordings.expire, context.recordings_dir, now, days, before)
    context.metrics.recordings_files.set(gone.left_files)
    context.metrics.recordings_bytes.set(gone.left_bytes)
    if gone.waiting:
        log.warning("audio_not_copied", code="unavailable", files=gone.waiting)
    if gone.refused:
        log.warning("audio_not_deleted", code="unavailable", reason=gone.reason)
    oldest_turn = timestamp(now - timedelta(days=context.retention.turns_days))
    database = await context.keeper.database()
    turns = await Conversations(database).expire(oldest_turn)
    await SpokenTurns(database).expire(oldest_turn)
    log.info("expired", turns=turns, audio_files=gone.files, audio_files_refused=gone.refused)

"""Job loop: its end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from barnabee.workers import loop
from barnabee.workers.loop import WorkerLoop


async def test_a_worker_that_loses_a_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(loop, "CANCEL_AGAIN_S", 0.01)
    running = asyncio.Event()

    async def lose_one_cancellation() -> None:
        try:
            running.set()
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.Event().wait()

    worker: Any = SimpleNamespace(
        async_run=lose_one_cancellation, tasks={}, pool=AsyncMock(), health_check_key="key"
    )
    jobs = WorkerLoop(lambda: worker)
    task = asyncio.create_task(jobs.run())
    await running.wait()
    jobs.stop()
    await asyncio.wait_for(task, 60)
    worker.pool.aclose.assert_awaited_once()

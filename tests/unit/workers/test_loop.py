"""Job loop: its end."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock

import pytest

from barnabee.workers import jobs
from barnabee.workers.jobs import WorkerLoop


async def test_a_worker_that_loses_a_cancellation_is_cancelled_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(jobs, "CANCEL_AGAIN_S", 0.01)
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
    worker_loop = WorkerLoop(lambda: worker)
    task = asyncio.create_task(worker_loop.run())
    await running.wait()
    worker_loop.stop()
    await asyncio.wait_for(task, 60)
    worker.pool.aclose.assert_awaited_once()

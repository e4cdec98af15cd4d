"""Job context without Redis."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from barnabee.core import system
from barnabee.core.errors import DependencyDown
from barnabee.core.metrics import Metrics
from barnabee.core.redis_client import RedisClient
from barnabee.store.provider import DatabaseProvider
from barnabee.workers.metrics import JobMetrics
from barnabee.workers.retry import JobContext

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)


class FakeRedis(RedisClient):
    """Stores dead letters; `down` makes every command fail."""

    def __init__(self) -> None:
        super().__init__("redis://")
        self.dead_letters: dict[str, str] = {}
        self.down = False

    async def execute_command(self, *parts: Any, **_options: Any) -> Any:
        if self.down:
            raise DependencyDown(dependency="redis", reason="stopped by the test")
        name, _, job_id, letter = parts
        assert name == "HSET"
        self.dead_letters[job_id] = letter
        return 1


@pytest.fixture
def redis() -> FakeRedis:
    return FakeRedis()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("worker")


@pytest.fixture
def context(tmp_path: Path, redis: FakeRedis, metrics: Metrics) -> JobContext:
    return JobContext(
        provider=DatabaseProvider(tmp_path / "barnabee.db", before_migration=None),
        redis=redis,
        metrics=JobMetrics.register(metrics),
        retention=system.load_system().retention,
        recordings_dir=tmp_path / "recordings",
        clock=lambda: NOW,
    )

"""A context for jobs without Redis."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from barnabee.core import system
from barnabee.core.errors import DependencyDown
from barnabee.core.metrics import Metrics
from barnabee.store.provider import Keeper
from barnabee.workers.context import Context
from barnabee.workers.metrics import JobMetrics

NOW = datetime(2025, 6, 1, 12, 0, tzinfo=UTC)


class Shelf:
    """Takes what is set aside; `down` makes it refuse."""

    def __init__(self) -> None:
        self.held: dict[str, str] = {}
        self.down = False

    async def command(self, *parts: Any) -> Any:
        if self.down:
            raise DependencyDown(dependency="redis", reason="a test took it away")
        name, _, job_id, note = parts
        assert name == "HSET"
        self.held[job_id] = note
        return 1


@pytest.fixture
def shelf() -> Shelf:
    return Shelf()


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("worker")


@pytest.fixture
def context(tmp_path: Path, shelf: Shelf, metrics: Metrics) -> Context:
    return Context(
        keeper=Keeper(tmp_path / "barnabee.db"),
        redis=shelf,  # type: ignore[arg-type]
        metrics=JobMetrics.register(metrics),
        retention=system.load().retention,
        recordings_dir=tmp_path / "recordings",
        clock=lambda: NOW,
    )

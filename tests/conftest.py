"""Fixtures and settings of all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support import log_privacy
from support.redis import RedisServer

# No time limits: a slow or busy machine must not fail a property.
settings.register_profile(
    "no_deadline", deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("no_deadline")


@pytest.fixture(scope="session", autouse=True)
def no_private_data_in_logs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Search all logs after the last test, whose teardown fails if one has private data."""
    yield
    found = log_privacy.find_breaches(tmp_path_factory.getbasetemp())
    assert not found, "in the logs of this run: " + "; ".join(map(str, found))


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()

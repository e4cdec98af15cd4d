"""Fixtures every test may use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support import log_privacy
from support.redis import RedisServer

# A slow or busy machine must not fail a property: no time limit per example, no check of speed.
settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")


@pytest.fixture(scope="session", autouse=True)
def nothing_private_in_any_log(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Look through all logs once the last test has ended: the failure is that test's teardown's."""
    yield
    found = log_privacy.find_breaches(tmp_path_factory.getbasetemp())
    assert not found, "in the logs of this run: " + "; ".join(map(str, found))


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path / "redis")
    server.start()
    yield server
    server.stop()

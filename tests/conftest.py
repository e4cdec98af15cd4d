"""Fixtures and settings of all tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from hypothesis import HealthCheck, settings

from barnabee.core.settings import read_settings
from support import log_privacy
from support.gpu import GpuProcess, find_models_dir
from support.redis import RedisServer
from support.replica import ReplicatedDeployment, make_replicated_deployment
from support.s3_proxy import S3Proxy

TESTS = Path(__file__).parent
MARKED_FOLDERS = {"long", "bench"}

# No time limits: a slow or busy machine must not fail a property. The same inputs in every run, so
# that a change is not blamed for what it did not do; `--hypothesis-profile=search` takes others.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
settings.register_profile("search", settings.get_profile("repeatable"), derandomize=False)
settings.load_profile("repeatable")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of tests/long and tests/bench with the name of their folder."""
    for item in items:
        folder = item.path.relative_to(TESTS).parts[0]
        if folder in MARKED_FOLDERS:
            item.add_marker(folder)


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


@pytest.fixture(scope="module")
def gpu(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GpuProcess]:
    """Yield the inference service with the real models, ready."""
    service = GpuProcess(tmp_path_factory.mktemp("gpu"), find_models_dir()).start()
    try:
        service.wait_for("/health/ready")
        yield service
    finally:
        service.stop()


@pytest.fixture
def http(gpu: GpuProcess) -> Iterator[httpx.Client]:
    with gpu.client() as client:
        yield client


@pytest.fixture
def deployment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ReplicatedDeployment]:
    """Yield an empty data directory and a running S3 server; litestream is not yet started.

    Modules that need all services have a fixture of the same name.
    """
    with make_replicated_deployment(tmp_path, monkeypatch) as deployment:
        yield deployment


@pytest.fixture
def s3_proxy(
    deployment: ReplicatedDeployment, monkeypatch: pytest.MonkeyPatch
) -> Iterator[S3Proxy]:
    """Yield a fault-injecting proxy between litestream and the S3 server of `deployment`."""
    proxy = S3Proxy(deployment.s3.port)
    proxy.start()
    monkeypatch.setenv("BARNABEE_REPLICA_ENDPOINT", proxy.url)
    deployment.settings = read_settings(deployment.system)
    yield proxy
    proxy.stop()

"""Start-up time and idle memory of a deployment."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from barnabee.up import run_state
from support.benchmark import is_at_most
from support.deployment import Deployment

SECOND_START_S = 20
RESIDENT_MIB = {"api": 150, "worker": 120}

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("deployment"), demo_home=False)
    try:
        deployment.start()
        deployment.stop()
        deployment.start()
        yield deployment
    finally:
        deployment.clean_up()


def test_the_second_start_is_healthy_in_time(deployment: Deployment) -> None:
    run = run_state.require_running(deployment.paths)
    assert run.healthy_s is not None
    parts = {name: node.ready_s for name, node in run.nodes.items() if node.ready_s is not None}
    print(f"\nsecond start: all healthy after {run.healthy_s:.1f} s")
    for name, ready_s in sorted(parts.items(), key=lambda part: part[1]):
        print(f"  {name:<11} {ready_s:5.1f} s")
    assert is_at_most(run.healthy_s, SECOND_START_S)


@pytest.mark.parametrize(("name", "limit_mib"), RESIDENT_MIB.items())
def test_an_idle_service_is_small(deployment: Deployment, name: str, limit_mib: int) -> None:
    pid = deployment.read_node(name).pid
    assert pid is not None
    resident_mib = psutil.Process(pid).memory_info().rss / 1024 / 1024
    print(f"\n{name}: {resident_mib:.0f} MiB resident")
    assert is_at_most(resident_mib, limit_mib)

"""How long the whole house takes to start, and what it weighs when nobody talks."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from barnabee.up import run_state
from support.deployment import WholeHouse

SECOND_START_S = 20
RESIDENT_MIB = {"api": 150, "worker": 120}

pytestmark = [pytest.mark.bench, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeHouse]:
    whole = WholeHouse(tmp_path_factory.mktemp("house"), demo_home=False)
    try:
        whole.up()
        whole.down()
        whole.up()
        yield whole
    finally:
        whole.clean()


def test_the_second_start_is_healthy_in_time(house: WholeHouse) -> None:
    run = run_state.require_running(house.paths)
    assert run.healthy_s is not None
    parts = {name: node.ready_s for name, node in run.nodes.items() if node.ready_s is not None}
    print(f"\nsecond start: all healthy after {run.healthy_s:.1f} s")
    for name, ready_s in sorted(parts.items(), key=lambda part: part[1]):
        print(f"  {name:<11} {ready_s:5.1f} s")
    assert run.healthy_s <= SECOND_START_S


@pytest.mark.parametrize(("name", "limit_mib"), RESIDENT_MIB.items())
def test_an_idle_service_is_small(house: WholeHouse, name: str, limit_mib: int) -> None:
    pid = house.node(name).pid
    assert pid is not None
    resident_mib = psutil.Process(pid).memory_info().rss / 1024 / 1024
    print(f"\n{name}: {resident_mib:.0f} MiB resident")
    assert resident_mib <= limit_mib

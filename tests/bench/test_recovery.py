"""Times of a whole deployment: start, detection of a killed service, recovery and stop."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import pytest

from support.benchmark import choose_size, is_at_most
from support.deployment import KILLABLE_SERVICES, Deployment
from support.wait import eventually

START_S, NOTICE_S, RECOVERY_S, STOP_S = 60, 5, 15, 12

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    deployment = Deployment(tmp_path_factory.mktemp("deployment"))
    try:
        deployment.start()
        yield deployment
    finally:
        deployment.clean_up()


def test_all_services_are_healthy_in_time(deployment: Deployment) -> None:
    report = json.loads(deployment.run_cli("health", "--json").stdout)
    print(f"\nall healthy after {report['healthy_s']:.1f} s")
    assert is_at_most(report["healthy_s"], START_S), report


@pytest.mark.parametrize("name", choose_size(KILLABLE_SERVICES, ("api",)))
async def test_a_killed_service_is_noticed_and_recovers_in_time(
    deployment: Deployment, name: str
) -> None:
    await deployment.wait_until_healthy()
    noticed_s, recovered_s = await deployment.kill_and_recover(name)
    print(f"\n{name}: noticed after {noticed_s:.1f} s, recovered after {recovered_s:.1f} s")
    assert is_at_most(noticed_s, NOTICE_S)
    assert is_at_most(recovered_s, RECOVERY_S)


async def test_an_outage_of_home_assistant_is_announced_in_time(deployment: Deployment) -> None:
    await deployment.wait_until_healthy()
    deployment.kill("home")

    async def is_announced() -> bool:
        answer = await deployment.send_command("is the kitchen light on")
        return "home_assistant" in answer["degraded"]

    begun_s = time.monotonic()
    await eventually(is_announced)
    assert is_at_most(time.monotonic() - begun_s, NOTICE_S)


def test_a_stop_ends_in_time(deployment: Deployment) -> None:
    begun_s = time.monotonic()
    deployment.stop()
    assert is_at_most(time.monotonic() - begun_s, STOP_S)

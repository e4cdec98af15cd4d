"""`up --demo-home --monitoring`: what goes wrong in the real house is told in the real home."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from barnabee.clients.home_assistant import HomeAssistant
from barnabee.core.errors import DependencyDown
from barnabee.up import monitoring_services
from support.alert_rules import list_exported_series, load_metrics_reference
from support.wait import eventually
from support.whole_house import WholeHouse

MISSING = [name for name in monitoring_services.PROGRAMS.values() if shutil.which(name) is None]
pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed here: {', '.join(MISSING)}"),
]
ADDED = ("up", "scrape_", "ALERTS", "barnabee_expected")  # by Prometheus itself
TOLD_WITHIN_S = 90
STT_DOWN = "The speech service is not running, so the assistant cannot hear or speak."


@pytest.fixture
def house(tmp_path: Path) -> Iterator[WholeHouse]:
    # It is killed as often as it comes back; and a busy machine's voice is not what is tried here.
    found = WholeHouse(
        tmp_path / "house",
        monitoring=True,
        service={"gpu": {"start_limit_burst": 1000}},
        tables={"probe": {"every_s": 0}},
    )
    yield found
    found.clean()


async def test_a_dead_part_is_told_at_home_in_time_and_told_to_be_back(house: WholeHouse) -> None:
    house.up()
    tried = house.cli("alert", "test")
    print(tried.stdout)
    assert tried.returncode == 0, tried.stdout + tried.stderr
    assert json.loads(house.cli("alert", "list", "--json").stdout) == []
    accepted = json.loads(house.cli("accept", "--json", "--allow-unchecked").stdout)
    (row,) = [one for one in accepted["criteria"] if one["criterion"] == "test alert"]
    assert row["verdict"] == "passed", row
    await _every_target_is_up(house)
    await _every_series_is_documented(house)

    token = (house.paths.secrets / "demo_home_token").read_text(encoding="utf-8").strip()
    home = HomeAssistant(house.url("home"), lambda: token)
    home.start()

    async def told() -> bool:
        try:
            return f"Urgent: {STT_DOWN}" in (await home.read_notifications()).values()
        except DependencyDown as error:
            raise ConnectionError(str(error)) from error

    killing = asyncio.create_task(_keep_killing(house, "gpu"))
    begun = time.monotonic()
    try:
        await eventually(told, within_s=TOLD_WITHIN_S)
        print(f"told at home {time.monotonic() - begun:.1f} s after the first kill")
        assert len(await home.read_notifications()) == 1  # what follows from it is not told as well
        listed = json.loads(house.cli("alert", "list", "--json").stdout)
        assert "STTServiceDown" in [one["name"] for one in listed if not one["held_back"]]
    finally:
        killing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killing
    back = time.monotonic()

    async def over() -> bool:
        return not await told()

    await eventually(over, within_s=120)
    print(f"gone again {time.monotonic() - back:.1f} s after it was left in peace")
    await home.aclose()
    house.down()


async def _keep_killing(house: WholeHouse, name: str) -> None:
    """Kill a part as often as it comes back."""
    while True:
        with contextlib.suppress(AssertionError, ProcessLookupError):
            house.kill(name)
        await asyncio.sleep(0.2)


async def _every_series_is_documented(house: WholeHouse) -> None:
    """What the running services export stands in docs/reference/metrics.md."""
    async with httpx.AsyncClient(base_url=house.url("prometheus")) as http:
        for service in load_metrics_reference().SERVICES:
            asked = {"match[]": f'{{job="barnabee-{service}"}}'}
            answer = await http.get("/api/v1/label/__name__/values", params=asked)
            names = {name for name in answer.json()["data"] if not name.startswith(ADDED)}
            assert len(names) > 10
            assert names - list_exported_series() == set(), service


async def _every_target_is_up(house: WholeHouse) -> None:
    async def up() -> bool:
        async with httpx.AsyncClient(base_url=house.url("prometheus")) as http:
            found = (await http.get("/api/v1/targets")).json()["data"]["activeTargets"]
        health = {one["labels"]["job"]: (one["health"], one["lastError"]) for one in found}
        assert set(health.values()) == {("up", "")}, health
        assert {"barnabee-api", "barnabee-gpu", "node", "blackbox"} <= health.keys()
        return True

    await eventually(up, within_s=40)

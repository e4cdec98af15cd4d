"""`up --demo-home --monitoring`: a failure of a service is shown in the real Home Assistant."""

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
from support.deployment import Deployment
from support.wait import eventually

MISSING = [name for name in monitoring_services.PROGRAMS.values() if shutil.which(name) is None]
pytestmark = [
    pytest.mark.alone,
    pytest.mark.timeout(600),
    pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}"),
]
ADDED = ("up", "scrape_", "ALERTS", "barnabee_expected")  # by Prometheus itself
SHOWN_WITHIN_S = 300  # 70 to 78 s on a quiet machine: the rules of alerts/gpu.yml say how long
STT_DOWN = "The speech service is not running, so the assistant cannot hear or speak."


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Deployment]:
    # The test kills the gpu service after every restart; the voice probe is off.
    found = Deployment(
        tmp_path / "deployment",
        monitoring=True,
        service={"gpu": {"start_limit_burst": 1000}},
        tables={"probe": {"every_s": 0}},
    )
    yield found
    found.clean_up()


async def test_failed_service_is_shown_in_home_assistant_in_time_and_dismissed(
    deployment: Deployment,
) -> None:
    deployment.start()
    test = deployment.run_cli("alert", "test")
    print(test.stdout)
    assert test.returncode == 0, test.stdout + test.stderr
    assert json.loads(deployment.run_cli("alert", "list", "--json").stdout) == []
    accepted = json.loads(deployment.run_cli("accept", "--json", "--allow-unchecked").stdout)
    (row,) = [one for one in accepted["criteria"] if one["criterion"] == "test alert"]
    assert row["verdict"] == "passed", row
    await _check_targets_are_up(deployment)
    await _check_series_are_documented(deployment)

    token = (deployment.paths.secrets / "demo_home_token").read_text(encoding="utf-8").strip()
    home = HomeAssistant(deployment.url("home"), lambda: token)
    home.start()

    async def is_shown() -> bool:
        try:
            return f"Urgent: {STT_DOWN}" in (await home.read_notifications()).values()
        except DependencyDown as error:
            raise ConnectionError(str(error)) from error

    killing = asyncio.create_task(_keep_killing(deployment, "gpu"))
    begun = time.monotonic()
    try:
        await eventually(is_shown, within_s=SHOWN_WITHIN_S)
        print(f"shown after {time.monotonic() - begun:.1f} s")
        assert len(await home.read_notifications()) == 1  # its effects are inhibited
        listed = json.loads(deployment.run_cli("alert", "list", "--json").stdout)
        assert "STTServiceDown" in [alert["name"] for alert in listed if not alert["held_back"]]
    finally:
        killing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await killing
    back = time.monotonic()

    async def is_dismissed() -> bool:
        return not await is_shown()

    await eventually(is_dismissed, within_s=300)
    print(f"dismissed after {time.monotonic() - back:.1f} s")
    await home.aclose()
    deployment.stop()


async def _keep_killing(deployment: Deployment, name: str) -> None:
    """Kill a service whenever it is running."""
    while True:
        with contextlib.suppress(AssertionError, ProcessLookupError):
            deployment.kill(name)
        await asyncio.sleep(0.2)


async def _check_series_are_documented(deployment: Deployment) -> None:
    """Check that docs/reference/metrics.md has every series of the running services."""
    async with httpx.AsyncClient(base_url=deployment.url("prometheus")) as http:
        for service in load_metrics_reference().SERVICES:
            asked = {"match[]": f'{{job="barnabee-{service}"}}'}
            answer = await http.get("/api/v1/label/__name__/values", params=asked)
            names = {name for name in answer.json()["data"] if not name.startswith(ADDED)}
            assert len(names) > 10
            assert names - list_exported_series() == set(), service


async def _check_targets_are_up(deployment: Deployment) -> None:
    async def up() -> bool:
        async with httpx.AsyncClient(base_url=deployment.url("prometheus")) as http:
            found = (await http.get("/api/v1/targets")).json()["data"]["activeTargets"]
        health = {
            target["labels"]["job"]: (target["health"], target["lastError"]) for target in found
        }
        assert set(health.values()) == {("up", "")}, health
        assert {"barnabee-api", "barnabee-gpu", "node", "blackbox"} <= health.keys()
        return True

    await eventually(up)

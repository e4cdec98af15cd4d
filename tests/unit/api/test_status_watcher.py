"""What the open pages are told: when something changed, and that somebody still looks."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from barnabee.api import status_watcher
from barnabee.api.cascade import Cascade, HealthSources
from barnabee.api.event_bus import EventBus
from barnabee.api.schemas import AlertStatus
from barnabee.api.status_watcher import StatusWatcher, make_alert_reader
from barnabee.clients.alertmanager import AlertmanagerClient
from barnabee.clients.service_client import ServiceClient
from barnabee.core import system
from barnabee.core.errors import DependencyDown
from barnabee.core.health import HealthCheck, HealthMonitor
from barnabee.core.metrics import Metrics
from barnabee.core.redis_client import RedisClient
from support.wait import free_port


def quiet(answer: httpx.Response | None = None) -> httpx.MockTransport:
    def reply(_request: httpx.Request) -> httpx.Response:
        if answer is None:
            raise httpx.ConnectError("refused")
        return answer

    return httpx.MockTransport(reply)


def watching(voice: ServiceClient | None = None, alerts: status_watcher.AlertReader | None = None) -> StatusWatcher:
    async def nothing() -> list[AlertStatus] | None:
        return None

    async def well() -> None:
        return None

    graph = system.load_system()
    own = HealthMonitor("api", [HealthCheck("database", well, hard=True)], Metrics("api"))
    redis = RedisClient(f"redis://127.0.0.1:{free_port()}/0")
    cascade = Cascade(graph, HealthSources(own, redis, {}), lambda: 1000.0)
    return StatusWatcher(graph, cascade, EventBus(), voice, None, alerts or nothing)


def told(text: bytes) -> tuple[str, Any]:
    kind, data = text.decode().strip().split("\n")
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def test_a_page_is_told_everything_once_then_only_what_changed_and_beats() -> None:
    rooms = httpx.Response(200, json={"rooms": [{"room": "hall", "state": "asleep", "since_s": 1}]})
    seen = watching(ServiceClient("voice", "http://voice", "t", transport=quiet(rooms)))
    stream = await seen.listen()
    for tick in range(2 * status_watcher.BEAT_TICKS):
        await seen.step(tick)
    seen.news.end()
    kinds = [told(text)[0] async for text in stream]
    assert kinds.count("now") == 2  # as it was when it came, and its first change
    assert kinds.count("beat") == 2


async def test_a_look_that_breaks_ends_the_beats_too(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = watching()
    await seen.step(0)
    stream = await seen.listen()

    async def broken() -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(seen.cascade, "look", broken)
    with pytest.raises(RuntimeError):
        await seen.run_for_ever()
    seen.news.end()
    assert "beat" not in [told(text)[0] async for text in stream]


async def test_what_does_not_answer_is_not_known_rather_than_empty() -> None:
    async def away() -> list[AlertStatus] | None:
        raise DependencyDown(dependency="alertmanager", reason="refused")

    seen = watching(ServiceClient("voice", "http://voice", "t", transport=quiet()), away)
    await seen.listen()
    await seen.step(0)
    assert seen.now is not None
    assert (seen.now.rooms, seen.now.alerts, seen.now.probe) == (None, None, None)


async def test_alerts_that_others_hold_back_and_the_watchdog_are_left_out() -> None:
    def alert(name: str, severity: str, state: str = "active") -> dict[str, Any]:
        return {
            "fingerprint": name,
            "labels": {"alertname": name, "severity": severity},
            "annotations": {"summary": f"{name} is so"},
            "startsAt": "2026-01-31T12:00:00Z",
            "updatedAt": "2026-01-31T12:00:00Z",
            "status": {"state": state, "silencedBy": [], "inhibitedBy": []},
        }

    listed = [alert("Down", "critical"), alert("Watchdog", "none"), alert("Late", "warning")]
    listed[2]["status"] |= {"state": "suppressed", "silencedBy": ["x"]}
    transport = quiet(httpx.Response(200, json=listed))
    found = await make_alert_reader(AlertmanagerClient("http://am", transport=transport))()
    assert [(one.name, one.severity, one.summary) for one in found or ()] == [
        ("Down", "critical", "Down is so")
    ]

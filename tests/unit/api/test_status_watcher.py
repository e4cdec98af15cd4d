"""Status events and heartbeats."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from barnabee.api import status_watcher
from barnabee.api.cascade import Cascade, HealthSources
from barnabee.api.schemas import AlertStatus
from barnabee.api.status_watcher import (
    EventBus,
    StatusWatcher,
    make_alert_reader,
    parse_probe_metrics,
)
from barnabee.clients.alertmanager import AlertmanagerClient
from barnabee.clients.probe import ProbeResult
from barnabee.clients.service_client import ServiceClient
from barnabee.core import system
from barnabee.core.errors import DependencyDown
from barnabee.core.health import HealthCheck, HealthMonitor
from barnabee.core.metrics import Metrics
from barnabee.core.redis_client import RedisClient
from barnabee.workers.metrics import ProbeMetrics
from support.wait import find_free_port


def make_transport(answer: httpx.Response | None = None) -> httpx.MockTransport:
    def reply(_request: httpx.Request) -> httpx.Response:
        if answer is None:
            raise httpx.ConnectError("refused")
        return answer

    return httpx.MockTransport(reply)


def make_watcher(
    voice: ServiceClient | None = None, alerts: status_watcher.AlertReader | None = None
) -> StatusWatcher:
    async def read_no_alerts() -> list[AlertStatus] | None:
        return None

    async def check_database() -> None:
        return None

    graph = system.load_system()
    own = HealthMonitor("api", [HealthCheck("database", check_database, hard=True)], Metrics("api"))
    redis = RedisClient(f"redis://127.0.0.1:{find_free_port()}/0")
    cascade = Cascade(graph, HealthSources(own, redis, {}), lambda: 1000.0)
    return StatusWatcher(graph, cascade, EventBus(), voice, None, alerts or read_no_alerts)


def parse_event(text: bytes) -> tuple[str, Any]:
    kind, data = text.decode().strip().split("\n")
    return kind.removeprefix("event: "), json.loads(data.removeprefix("data: "))


async def test_page_gets_the_status_then_changes_and_heartbeats() -> None:
    rooms = httpx.Response(200, json={"rooms": [{"room": "hall", "state": "asleep", "since_s": 1}]})
    watcher = make_watcher(
        ServiceClient("voice", "http://voice", "t", transport=make_transport(rooms))
    )
    stream = await watcher.subscribe()
    for tick in range(2 * status_watcher.BEAT_TICKS):
        await watcher.poll(tick)
    watcher.event_bus.close()
    kinds = [parse_event(text)[0] async for text in stream]
    assert kinds.count("now") == 2  # the first status, and its first change
    assert kinds.count("beat") == 2


async def test_failed_poll_sends_no_heartbeat(monkeypatch: pytest.MonkeyPatch) -> None:
    watcher = make_watcher()
    await watcher.poll(0)
    stream = await watcher.subscribe()

    async def broken() -> None:
        raise RuntimeError("a mistake")

    monkeypatch.setattr(watcher.cascade, "check", broken)
    with pytest.raises(RuntimeError):
        await watcher.run()
    watcher.event_bus.close()
    assert "beat" not in [parse_event(text)[0] async for text in stream]


async def test_unreachable_sources_are_null_not_empty() -> None:
    async def fail() -> list[AlertStatus] | None:
        raise DependencyDown(dependency="alertmanager", reason="refused")

    watcher = make_watcher(
        ServiceClient("voice", "http://voice", "t", transport=make_transport()), fail
    )
    await watcher.subscribe()
    await watcher.poll(0)
    assert watcher.status is not None
    assert (watcher.status.rooms, watcher.status.alerts, watcher.status.probe) == (None, None, None)


async def test_suppressed_alerts_and_the_watchdog_are_left_out() -> None:
    def make_alert(name: str, severity: str, state: str = "active") -> dict[str, Any]:
        return {
            "fingerprint": name,
            "labels": {"alertname": name, "severity": severity},
            "annotations": {"summary": f"{name} summary"},
            "startsAt": "2026-01-31T12:00:00Z",
            "updatedAt": "2026-01-31T12:00:00Z",
            "status": {"state": state, "silencedBy": [], "inhibitedBy": []},
        }

    listed = [
        make_alert("Down", "critical"),
        make_alert("Watchdog", "none"),
        make_alert("Late", "warning"),
    ]
    listed[2]["status"] |= {"state": "suppressed", "silencedBy": ["x"]}
    transport = make_transport(httpx.Response(200, json=listed))
    found = await make_alert_reader(AlertmanagerClient("http://am", transport=transport))()
    assert [(one.name, one.severity, one.summary) for one in found or ()] == [
        ("Down", "critical", "Down summary")
    ]


def test_last_probe_is_parsed_from_the_worker_s_metrics() -> None:
    metrics = Metrics("worker")
    series = ProbeMetrics.register(metrics)
    assert parse_probe_metrics(metrics.render().decode()) is None
    series.record(
        ProbeResult(stages_ms={"stt": 640.5, "total": 2500.0}, over_budget=["stt"]), 1234.5
    )
    reading = parse_probe_metrics(metrics.render().decode())
    assert reading is not None
    assert (reading.at_s, reading.success, reading.over_budget) == (1234.5, True, ["stt"])
    assert reading.stages_ms == {"stt": 640.5, "total": 2500.0}
    series.record(ProbeResult(stage="hear", code="misheard"), 2000.0)
    reading = parse_probe_metrics(metrics.render().decode())
    assert reading is not None
    assert (reading.success, reading.stages_ms) == (False, {})

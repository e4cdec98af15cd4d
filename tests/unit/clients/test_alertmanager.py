from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from barnabee.clients.alertmanager import AlertmanagerClient
from barnabee.core.errors import DependencyDown

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# Response of version 0.25.
ALERT = {
    "annotations": {"summary": "s", "action": "a", "runbook": "r"},
    "endsAt": "2026-01-02T03:09:05.000Z",
    "fingerprint": "0123456789abcdef",
    "receivers": [{"name": "home-assistant"}],
    "startsAt": "2026-01-02T03:04:05.000Z",
    "status": {"inhibitedBy": ["x"], "silencedBy": [], "state": "suppressed"},
    "updatedAt": "2026-01-02T03:05:05.000Z",
    "labels": {"alertname": "DiskSpaceLow", "severity": "warning"},
}
requests: list[httpx.Request] = []


def make_client(response: httpx.Response | Exception) -> AlertmanagerClient:
    requests.clear()

    def reply(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        if isinstance(response, Exception):
            raise response
        return response

    return AlertmanagerClient("http://am:9093/", transport=httpx.MockTransport(reply))


def sent_body() -> Any:
    return json.loads(requests[0].content)


async def test_active_alerts_are_parsed() -> None:
    (alert,) = await make_client(httpx.Response(200, json=[ALERT])).read_alerts()
    assert alert.name == "DiskSpaceLow"
    assert alert.is_suppressed
    assert alert.started == NOW
    assert alert.as_dict() == {
        "name": "DiskSpaceLow",
        "severity": "warning",
        "summary": "s",
        "action": "a",
        "runbook": "r",
        "since": "2026-01-02T03:04:05+00:00",
        "held_back": True,
        "labels": ALERT["labels"],
        "fingerprint": "0123456789abcdef",
    }


async def test_alert_is_posted() -> None:
    await make_client(httpx.Response(200)).post_alert(
        {"alertname": "A"}, {"summary": "s"}, started=NOW, ends=NOW + timedelta(minutes=1)
    )
    assert requests[0].url.path == "/api/v2/alerts"
    assert sent_body() == [
        {
            "labels": {"alertname": "A"},
            "annotations": {"summary": "s"},
            "startsAt": "2026-01-02T03:04:05+00:00",
            "endsAt": "2026-01-02T03:05:05+00:00",
        }
    ]


async def test_silence_is_created() -> None:
    alertmanager = make_client(httpx.Response(200, json={"silenceID": "id"}))
    hours = timedelta(hours=2)
    assert (
        await alertmanager.create_silence({"alertname": "A"}, since=NOW, lasting=hours, why="w")
        == "id"
    )
    assert sent_body()["matchers"] == [
        {"name": "alertname", "value": "A", "isRegex": False, "isEqual": True}
    ]
    assert sent_body()["endsAt"] == "2026-01-02T05:04:05+00:00"


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (httpx.ConnectError("refused"), "http://am:9093: refused"),
        (httpx.ReadTimeout(""), "ReadTimeout"),
        (httpx.Response(400, text="bad matcher"), "HTTP 400: bad matcher"),
        (httpx.Response(200, text="<html>"), "http://am:9093"),
    ],
)
async def test_every_failure_is_dependency_down(
    response: httpx.Response | Exception, message: str
) -> None:
    with pytest.raises(DependencyDown) as caught:
        await make_client(response).read_alerts()
    assert message in str(caught.value)

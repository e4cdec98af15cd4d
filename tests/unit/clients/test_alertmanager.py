from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from barnabee.clients.alertmanager import Alertmanager
from barnabee.core.errors import DependencyDown

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# As version 0.25 answers.
FOUND = {
    "annotations": {"summary": "s", "action": "a", "runbook": "r"},
    "endsAt": "2026-01-02T03:09:05.000Z",
    "fingerprint": "0123456789abcdef",
    "receivers": [{"name": "home-assistant"}],
    "startsAt": "2026-01-02T03:04:05.000Z",
    "status": {"inhibitedBy": ["x"], "silencedBy": [], "state": "suppressed"},
    "updatedAt": "2026-01-02T03:05:05.000Z",
    "labels": {"alertname": "DiskFilling", "severity": "warning"},
}
asked: list[httpx.Request] = []


def client(answer: httpx.Response | Exception) -> Alertmanager:
    asked.clear()

    def reply(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        if isinstance(answer, Exception):
            raise answer
        return answer

    return Alertmanager("http://am:9093/", transport=httpx.MockTransport(reply))


def sent() -> Any:
    return json.loads(asked[0].content)


async def test_alerts_in_force() -> None:
    (found,) = await client(httpx.Response(200, json=[FOUND])).alerts()
    assert found.name == "DiskFilling"
    assert found.held_back
    assert found.started == NOW
    assert found.as_dict() == {
        "name": "DiskFilling",
        "severity": "warning",
        "summary": "s",
        "action": "a",
        "runbook": "r",
        "since": "2026-01-02T03:04:05+00:00",
        "held_back": True,
        "labels": FOUND["labels"],
        "fingerprint": "0123456789abcdef",
    }


async def test_an_alert_of_ones_own() -> None:
    await client(httpx.Response(200)).post(
        {"alertname": "A"}, {"summary": "s"}, started=NOW, ends=NOW + timedelta(minutes=1)
    )
    assert asked[0].url.path == "/api/v2/alerts"
    assert sent() == [
        {
            "labels": {"alertname": "A"},
            "annotations": {"summary": "s"},
            "startsAt": "2026-01-02T03:04:05+00:00",
            "endsAt": "2026-01-02T03:05:05+00:00",
        }
    ]


async def test_a_silence() -> None:
    alertmanager = client(httpx.Response(200, json={"silenceID": "id"}))
    hours = timedelta(hours=2)
    assert await alertmanager.silence({"alertname": "A"}, since=NOW, lasting=hours, why="w") == "id"
    assert sent()["matchers"] == [
        {"name": "alertname", "value": "A", "isRegex": False, "isEqual": True}
    ]
    assert sent()["endsAt"] == "2026-01-02T05:04:05+00:00"


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (httpx.ConnectError("refused"), "http://am:9093: refused"),
        (httpx.ReadTimeout(""), "ReadTimeout"),
        (httpx.Response(400, text="bad matcher"), "HTTP 400: bad matcher"),
        (httpx.Response(200, text="<html>"), "http://am:9093"),
    ],
)
async def test_whatever_goes_wrong_is_one_error(
    answer: httpx.Response | Exception, says: str
) -> None:
    with pytest.raises(DependencyDown) as caught:
        await client(answer).alerts()
    assert says in str(caught.value)

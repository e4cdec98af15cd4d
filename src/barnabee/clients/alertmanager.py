"""Client of Alertmanager: active alerts, posted alerts and silences.

API: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx

from barnabee.core.errors import DependencyDown

NAME = "alertmanager"
_ALERTS, _SILENCES = "/api/v2/alerts", "/api/v2/silences"


@dataclass(frozen=True)
class Alert:
    """One active alert; `fingerprint` identifies its labels, also in notifications."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    started: datetime
    updated: datetime
    is_suppressed: bool  # silenced, or inhibited by another alert

    @property
    def name(self) -> str:
        """Return the name of the alerting rule."""
        return self.labels.get("alertname", "")

    def as_dict(self) -> dict[str, object]:
        return {
            "name": self.name,
            "severity": self.labels.get("severity"),
            "summary": self.annotations.get("summary"),
            "action": self.annotations.get("action"),
            "runbook": self.annotations.get("runbook"),
            "since": self.started.isoformat(),
            "held_back": self.is_suppressed,
            "labels": dict(self.labels),
            "fingerprint": self.fingerprint,
        }


class AlertmanagerClient:
    """Client of one Alertmanager; call `aclose` at the end. Every method raises DependencyDown."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=self.url, timeout=timeout_s, transport=transport, trust_env=False
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def read_alerts(self) -> list[Alert]:
        """Return the active alerts, including suppressed ones."""
        return [parse_alert(alert) for alert in await self._request("GET", _ALERTS)]

    async def post_alert(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        *,
        started: datetime,
        ends: datetime,
    ) -> None:
        """Post an alert that ends at `ends`; an earlier end with the same labels resolves it.

        Alertmanager resolves an alert that is not posted again within five minutes.
        """
        alert = {
            "labels": dict(labels),
            "annotations": dict(annotations),
            "startsAt": started.isoformat(),
            "endsAt": ends.isoformat(),
        }
        await self._request("POST", _ALERTS, [alert])

    async def create_silence(
        self, matches: Mapping[str, str], *, since: datetime, lasting: timedelta, why: str
    ) -> str:
        """Silence the alerts with these labels; return the silence's id."""
        body = {
            "matchers": [
                {"name": name, "value": value, "isRegex": False, "isEqual": True}
                for name, value in matches.items()
            ],
            "startsAt": since.isoformat(),
            "endsAt": (since + lasting).isoformat(),
            "createdBy": "barnabee",
            "comment": why,
        }
        return str((await self._request("POST", _SILENCES, body))["silenceID"])

    async def _request(self, method: str, path: str, body: object = None) -> Any:
        try:
            response = await self._http.request(method, path, json=body)
            response.raise_for_status()
            return response.json() if response.content else None
        except httpx.HTTPStatusError as error:
            reason = f"HTTP {error.response.status_code}: {error.response.text[:200]}"
            raise DependencyDown(dependency=NAME, reason=reason) from error
        except (httpx.HTTPError, ValueError) as error:
            reason = f"{self.url}: {str(error) or type(error).__name__}"
            raise DependencyDown(dependency=NAME, reason=reason) from error


def parse_alert(body: Mapping[str, Any]) -> Alert:
    """Convert one alert of Alertmanager's API."""
    status = body["status"]
    return Alert(
        fingerprint=body["fingerprint"],
        labels=body["labels"],
        annotations=body["annotations"],
        started=datetime.fromisoformat(body["startsAt"]),
        updated=datetime.fromisoformat(body["updatedAt"]),
        is_suppressed=bool(status["silencedBy"] or status["inhibitedBy"]),
    )

"""Alertmanager: the alerts in force, an alert of one's own, a silence.

Its API: https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml.
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
    """One alert in force; `fingerprint` names its labels, here and in what is sent on."""

    fingerprint: str
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    started: datetime
    updated: datetime
    held_back: bool  # by a silence or by another alert that explains it

    @property
    def name(self) -> str:
        """Return the name of its rule."""
        return self.labels.get("alertname", "")

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "name": self.name,
            "severity": self.labels.get("severity"),
            "summary": self.annotations.get("summary"),
            "action": self.annotations.get("action"),
            "runbook": self.annotations.get("runbook"),
            "since": self.started.isoformat(),
            "held_back": self.held_back,
            "labels": dict(self.labels),
            "fingerprint": self.fingerprint,
        }


class Alertmanager:
    """One Alertmanager; `aclose` it at the end. Every method raises DependencyDown."""

    def __init__(
        self,
        url: str,
        *,
        timeout_s: float = 5.0,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Remember where it is."""
        self.url = url.rstrip("/")
        self._http = httpx.AsyncClient(
            base_url=self.url, timeout=timeout_s, transport=transport, trust_env=False
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def alerts(self) -> list[Alert]:
        """Return the alerts in force, those held back too."""
        return [alert_of(one) for one in await self._json("GET", _ALERTS)]

    async def post(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        *,
        started: datetime,
        ends: datetime,
    ) -> None:
        """Report an alert that ends at `ends`; with the same labels and an earlier end: it is over.

        Alertmanager itself takes what nobody reports again for over after five minutes.
        """
        alert = {
            "labels": dict(labels),
            "annotations": dict(annotations),
            "startsAt": started.isoformat(),
            "endsAt": ends.isoformat(),
        }
        await self._json("POST", _ALERTS, [alert])

    async def silence(
        self, matches: Mapping[str, str], *, since: datetime, lasting: timedelta, why: str
    ) -> str:
        """Hold back the alerts with these labels; return the silence's id."""
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
        return str((await self._json("POST", _SILENCES, body))["silenceID"])

    async def _json(self, method: str, path: str, body: object = None) -> Any:
        try:
            answer = await self._http.request(method, path, json=body)
            answer.raise_for_status()
            return answer.json() if answer.content else None
        except httpx.HTTPStatusError as error:
            reason = f"HTTP {error.response.status_code}: {error.response.text[:200]}"
            raise DependencyDown(dependency=NAME, reason=reason) from error
        except (httpx.HTTPError, ValueError) as error:
            reason = f"{self.url}: {str(error) or type(error).__name__}"
            raise DependencyDown(dependency=NAME, reason=reason) from error


def alert_of(found: Mapping[str, Any]) -> Alert:
    """Return our form of one alert of its API."""
    status = found["status"]
    return Alert(
        fingerprint=found["fingerprint"],
        labels=found["labels"],
        annotations=found["annotations"],
        started=datetime.fromisoformat(found["startsAt"]),
        updated=datetime.fromisoformat(found["updatedAt"]),
        held_back=bool(status["silencedBy"] or status["inhibitedBy"]),
    )

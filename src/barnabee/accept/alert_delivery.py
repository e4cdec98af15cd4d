"""Delivery test of alerts: sends one, follows it to Home Assistant, and ends it.

Each hop (Prometheus, Alertmanager, Home Assistant) is observed at its destination.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Protocol

from barnabee.clients.alertmanager import Alert
from barnabee.core.errors import AlertNotDelivered, BarnabeeError

TEST_ALERT = "TestAlert"
WATCHDOG = "Watchdog"
ALERTMANAGER_HOP, HOME_ASSISTANT_HOP = "Alertmanager", "Home Assistant"
# Prometheus reports what is still true every minute, so an older Watchdog is stale.
_WATCHDOG_AGE_MAX = timedelta(minutes=5)
_DURATION = timedelta(minutes=10)  # the alert expires even if this program cannot end it
_POLL_S = 0.1


class AlertSender(Protocol):
    """The part of `clients.alertmanager.AlertmanagerClient` that the test uses."""

    async def read_alerts(self) -> list[Alert]: ...

    async def post_alert(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        *,
        started: datetime,
        ends: datetime,
    ) -> None: ...


# Reads the notifications that Home Assistant shows now, as title by id.
ReadNotifications = Callable[[], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True)
class Hop:
    """One stage of the delivery: what was observed, and how long after the previous hop."""

    name: str
    took_ms: float
    seen: str


@dataclass(frozen=True)
class DeliveryReport:
    """The hops that were reached, and why the next one was not if not `ok`."""

    id: str
    hops: tuple[Hop, ...]
    ok: bool
    why: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return asdict(self)

    def error(self) -> AlertNotDelivered:
        """Return the failure as an error."""
        last = self.hops[-1].name if self.hops else "nowhere"
        return AlertNotDelivered(hop=last, why=self.why)


@dataclass
class _HopTimer:
    """The hops so far and the time of the last one."""

    limit_s: float
    hops: list[Hop] = field(default_factory=list)
    last_s: float = field(default_factory=time.monotonic)

    async def wait_for(
        self, name: str, observe: Callable[[], Awaitable[str | None]], problem: str
    ) -> None:
        """Poll until `observe` returns a description of the hop, and record it.

        Raises _HopMissedError after `limit_s`, with the last error of `observe` or with `problem`.
        """
        deadline_s = time.monotonic() + self.limit_s
        reason = problem
        while time.monotonic() < deadline_s:
            try:
                seen = await observe()
                reason = problem
            except BarnabeeError as error:  # possibly transient
                seen, reason = None, str(error)
            if seen is not None:
                self.record(name, seen)
                return
            await asyncio.sleep(_POLL_S)
        raise _HopMissedError(f"after {self.limit_s:g} s: {reason}")

    def record(self, name: str, seen: str) -> None:
        now_s = time.monotonic()
        self.hops.append(Hop(name, round((now_s - self.last_s) * 1000, 1), seen))
        self.last_s = now_s


class _HopMissedError(Exception):
    """A hop was not reached within its limit."""


async def run_delivery_test(
    sender: AlertSender,
    read_notifications: ReadNotifications,
    *,
    aloud: bool = False,
    limit_s: float = 60,
) -> DeliveryReport:
    """Send a test alert and follow it until its notification is gone; `limit_s` is per hop.

    A BarnabeeError becomes part of the report.
    """
    test_id = secrets.token_hex(4)
    timer = _HopTimer(limit_s)
    try:
        await _follow_alert(timer, sender, read_notifications, test_id, aloud=aloud)
    except (_HopMissedError, BarnabeeError) as error:
        return DeliveryReport(test_id, tuple(timer.hops), ok=False, why=str(error))
    return DeliveryReport(test_id, tuple(timer.hops), ok=True)


async def _follow_alert(
    timer: _HopTimer,
    sender: AlertSender,
    read_notifications: ReadNotifications,
    test_id: str,
    *,
    aloud: bool,
) -> None:
    labels = {
        "alertname": TEST_ALERT,
        "severity": "critical" if aloud else "info",
        "trial": test_id,
    }
    annotations = {
        "summary": "This is a test of the assistant's alerts.",
        "action": f"No action is needed (test {test_id}).",
        "runbook": f"docs/runbooks/{TEST_ALERT}.md",
    }
    started = datetime.now(UTC)

    async def find_watchdog() -> str | None:
        return describe_watchdog(await sender.read_alerts(), datetime.now(UTC))

    await timer.wait_for(
        "Prometheus",
        find_watchdog,
        "Alertmanager receives no Watchdog: check that Prometheus is running",
    )
    await sender.post_alert(labels, annotations, started=started, ends=started + _DURATION)
    try:
        notification = await _wait_for_delivery(timer, sender, read_notifications, test_id)
    finally:
        await sender.post_alert(labels, annotations, started=started, ends=datetime.now(UTC))
    timer.record("ended", "reported as resolved")

    async def find_dismissal() -> str | None:
        is_shown = notification in await read_notifications()
        return None if is_shown else "the notification is gone"

    await timer.wait_for("dismissed", find_dismissal, "Home Assistant still shows the notification")


async def _wait_for_delivery(
    timer: _HopTimer,
    sender: AlertSender,
    read_notifications: ReadNotifications,
    test_id: str,
) -> str:
    """Return the id of the notification once Home Assistant shows it."""
    ids: list[str] = []

    async def find_alert() -> str | None:
        for alert in await sender.read_alerts():
            if alert.labels.get("trial") == test_id:
                ids.append(notification_id(alert.fingerprint))
                return f"firing as {alert.fingerprint}"
        return None

    async def find_notification() -> str | None:
        return (await read_notifications()).get(ids[-1])

    await timer.wait_for(
        ALERTMANAGER_HOP, find_alert, "Alertmanager accepted the alert but does not list it"
    )
    problem = (
        "Home Assistant shows no notification: check that its package is installed and that the "
        "secret `home_assistant_webhook` is the address of its webhook"
    )
    await timer.wait_for(HOME_ASSISTANT_HOP, find_notification, problem)
    return ids[-1]


def notification_id(fingerprint: str) -> str:
    """Return the id that the Home Assistant package gives to the notification of an alert."""
    return f"barnabee_{fingerprint}"


def describe_watchdog(alerts: list[Alert], now: datetime) -> str | None:
    """Return the age of the Watchdog in words, or None if Prometheus does not report it now."""
    ages = [now - alert.updated for alert in alerts if alert.name == WATCHDOG]
    if not ages or min(ages) > _WATCHDOG_AGE_MAX:
        return None
    return f"its Watchdog came {max(0.0, min(ages).total_seconds()):.0f} s ago"

"""Delivery test of alerts with a fake Alertmanager and Home Assistant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from barnabee.accept import alert_delivery
from barnabee.clients.alertmanager import Alert
from barnabee.core.errors import DependencyDown


def alert(name: str, *, age_s: float = 0, **labels: str) -> Alert:
    now = datetime.now(UTC)
    labels = {"alertname": name, **labels}
    updated = now - timedelta(seconds=age_s)
    return Alert(f"print-{name}", labels, {}, now, updated, is_suppressed=False)


@dataclass
class FakeChannel:
    """Alertmanager and Home Assistant in one; each step can be switched off."""

    watchdog: bool = True
    lists: bool = True
    notifies: bool = True
    dismisses: bool = True
    down: int = 0  # requests to Home Assistant that fail
    posted: list[tuple[dict[str, str], datetime]] = field(default_factory=list)

    @property
    def has_ended(self) -> bool:
        return bool(self.posted) and self.posted[-1][1] <= datetime.now(UTC)

    async def read_alerts(self) -> list[Alert]:
        found = [alert(alert_delivery.WATCHDOG, age_s=3)] if self.watchdog else []
        if self.posted and self.lists and not self.has_ended:
            found.append(alert(alert_delivery.TEST_ALERT, trial=self.posted[0][0]["trial"]))
        return found

    async def post_alert(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        *,
        started: datetime,
        ends: datetime,
    ) -> None:
        self.posted.append((dict(labels), ends))

    async def read_notifications(self) -> dict[str, str]:
        if self.down:
            self.down -= 1
            raise DependencyDown(dependency="home_assistant", reason="away")
        if not self.posted or not self.notifies or (self.has_ended and self.dismisses):
            return {}
        return {f"barnabee_print-{alert_delivery.TEST_ALERT}": "a test"}


async def run(
    channel: FakeChannel, *, aloud: bool = False, limit_s: float = 60
) -> alert_delivery.DeliveryReport:
    return await alert_delivery.run_delivery_test(
        channel, channel.read_notifications, aloud=aloud, limit_s=limit_s
    )


async def test_every_hop_is_recorded_and_the_alert_is_ended() -> None:
    channel = FakeChannel()
    report = await run(channel)
    assert report.ok
    assert [hop.name for hop in report.hops] == [
        "Prometheus",
        "Alertmanager",
        "Home Assistant",
        "ended",
        "dismissed",
    ]
    assert channel.has_ended
    assert channel.posted[0][0]["severity"] == "info"
    assert channel.posted[0][0]["trial"] == report.id
    assert report.as_dict()["ok"] is True


async def test_aloud_sends_a_critical_alert() -> None:
    channel = FakeChannel()
    assert (await run(channel, aloud=True)).ok
    assert channel.posted[0][0]["severity"] == "critical"


async def test_a_short_outage_of_home_assistant_is_tolerated() -> None:
    assert (await run(FakeChannel(down=2))).ok


async def test_a_missing_watchdog_is_reported_first() -> None:
    channel = FakeChannel(watchdog=False)
    report = await run(channel, limit_s=0.2)
    assert (report.ok, report.hops, channel.posted) == (False, (), [])
    assert "Watchdog" in report.why
    assert str(report.error()).startswith("The test alert was not delivered after nowhere")


async def test_an_accepted_but_unlisted_alert_is_lost() -> None:
    channel = FakeChannel(lists=False)
    report = await run(channel, limit_s=0.2)
    assert [hop.name for hop in report.hops] == ["Prometheus"]
    assert channel.has_ended, "the alert is ended anyway"


async def test_a_missing_notification_names_what_to_check() -> None:
    channel = FakeChannel(notifies=False)
    report = await run(channel, limit_s=0.2)
    assert [hop.name for hop in report.hops] == ["Prometheus", "Alertmanager"]
    assert "home_assistant_webhook" in report.why
    assert channel.has_ended


async def test_a_home_assistant_that_is_down_is_named() -> None:
    report = await run(FakeChannel(down=10_000), limit_s=0.2)
    assert "home_assistant does not answer (away)" in report.why


async def test_a_notification_that_is_not_dismissed_fails() -> None:
    report = await run(FakeChannel(dismisses=False), limit_s=0.2)
    assert not report.ok
    assert report.hops[-1].name == "ended"


def test_a_stale_watchdog_is_ignored() -> None:
    now = datetime.now(UTC)
    assert (
        alert_delivery.describe_watchdog([alert(alert_delivery.WATCHDOG, age_s=3600)], now) is None
    )
    assert (
        alert_delivery.describe_watchdog([alert(alert_delivery.WATCHDOG, age_s=-1)], now)
        == "its Watchdog came 0 s ago"
    )
    assert alert_delivery.describe_watchdog([alert("Other")], now) is None

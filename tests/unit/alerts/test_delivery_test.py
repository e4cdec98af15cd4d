"""A trial of the way of alerts, over a way that the test controls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from barnabee.alerts import delivery_test
from barnabee.clients.alertmanager import Alert
from barnabee.core.errors import DependencyDown


def alert(name: str, *, age_s: float = 0, **labels: str) -> Alert:
    now = datetime.now(UTC)
    labels = {"alertname": name, **labels}
    updated = now - timedelta(seconds=age_s)
    return Alert(f"print-{name}", labels, {}, now, updated, held_back=False)


@dataclass
class Way:
    """Alertmanager and Home Assistant in one; what is switched off does not happen."""

    watchdog: bool = True
    lists: bool = True
    notifies: bool = True
    dismisses: bool = True
    down: int = 0  # looks at Home Assistant that fail
    posted: list[tuple[dict[str, str], datetime]] = field(default_factory=list)

    @property
    def over(self) -> bool:
        return bool(self.posted) and self.posted[-1][1] <= datetime.now(UTC)

    async def alerts(self) -> list[Alert]:
        found = [alert(delivery_test.WATCHDOG, age_s=3)] if self.watchdog else []
        if self.posted and self.lists and not self.over:
            found.append(alert(delivery_test.NAME, trial=self.posted[0][0]["trial"]))
        return found

    async def post(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        *,
        started: datetime,
        ends: datetime,
    ) -> None:
        self.posted.append((dict(labels), ends))

    async def shown(self) -> dict[str, str]:
        if self.down:
            self.down -= 1
            raise DependencyDown(dependency="home_assistant", reason="away")
        if not self.posted or not self.notifies or (self.over and self.dismisses):
            return {}
        return {f"barnabee_print-{delivery_test.NAME}": "a test"}


async def run(way: Way, *, aloud: bool = False) -> delivery_test.Trial:
    return await delivery_test.run(way, way.shown, aloud=aloud, limit_s=0.4)


async def test_every_hop_is_seen_and_the_alert_is_ended() -> None:
    way = Way()
    done = await run(way)
    assert done.ok
    assert [hop.name for hop in done.hops] == [
        "Prometheus",
        "Alertmanager",
        "Home Assistant",
        "ended",
        "dismissed",
    ]
    assert way.over
    assert way.posted[0][0]["severity"] == "info"
    assert way.posted[0][0]["trial"] == done.id
    assert done.as_dict()["ok"] is True


async def test_aloud_is_a_critical_one() -> None:
    way = Way()
    assert (await run(way, aloud=True)).ok
    assert way.posted[0][0]["severity"] == "critical"


async def test_home_assistant_may_be_away_for_a_moment() -> None:
    assert (await run(Way(down=2))).ok


async def test_a_prometheus_that_reports_nothing_is_the_first_thing_said() -> None:
    way = Way(watchdog=False)
    done = await run(way)
    assert (done.ok, done.hops, way.posted) == (False, (), [])
    assert "Watchdog" in done.why
    assert str(done.error()).startswith("The test alert was lost after nowhere")


async def test_an_alert_that_is_taken_and_not_listed_is_lost_there() -> None:
    way = Way(lists=False)
    done = await run(way)
    assert [hop.name for hop in done.hops] == ["Prometheus"]
    assert way.over, "it is ended all the same"


async def test_a_notification_that_never_comes_names_what_to_look_at_and_is_ended() -> None:
    way = Way(notifies=False)
    done = await run(way)
    assert [hop.name for hop in done.hops] == ["Prometheus", "Alertmanager"]
    assert "home_assistant_webhook" in done.why
    assert way.over


async def test_a_home_assistant_that_stays_away_is_named() -> None:
    done = await run(Way(down=10_000))
    assert "home_assistant does not answer (away)" in done.why


async def test_a_notification_that_stays_is_no_success() -> None:
    done = await run(Way(dismisses=False))
    assert not done.ok
    assert done.hops[-1].name == "ended"


def test_a_watchdog_of_an_hour_ago_is_none() -> None:
    now = datetime.now(UTC)
    assert delivery_test.watchdog_seen([alert(delivery_test.WATCHDOG, age_s=3600)], now) is None
    assert (
        delivery_test.watchdog_seen([alert(delivery_test.WATCHDOG, age_s=-1)], now)
        == "its Watchdog came 0 s ago"
    )
    assert delivery_test.watchdog_seen([alert("Other")], now) is None


def test_delivery_is_from_the_report_to_the_notification() -> None:
    took_ms = {
        "Prometheus": 9000.0,
        delivery_test.TAKEN: 10.0,
        delivery_test.SHOWN: 490.0,
        "dismissed": 5000.0,
    }
    hops = tuple(delivery_test.Hop(name, took, "") for name, took in took_ms.items())
    assert delivery_test.delivered_s(delivery_test.Trial("id", hops, ok=True)) == 0.5

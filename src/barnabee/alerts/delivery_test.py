"""Whether alerts arrive: one is made up, followed until Home Assistant shows it, and ended.

Every hop is seen where it leads, not assumed where it began. Knows how alerts travel
(Prometheus, Alertmanager, Home Assistant) and not how either is reached.
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
from barnabee.core.errors import AlertLost, BarnabeeError

NAME = "TestAlert"
WATCHDOG = "Watchdog"
TAKEN, SHOWN = "Alertmanager", "Home Assistant"  # hops
# Prometheus reports what is still true every minute, so a Watchdog older than this is a leftover.
_WATCHDOG_AGE_MAX = timedelta(minutes=5)
_LASTS = timedelta(minutes=10)  # it ends by itself when this program cannot end it
_POLL_S = 0.1


class Sender(Protocol):
    """What a trial needs of `clients.alertmanager.Alertmanager`."""

    async def alerts(self) -> list[Alert]:
        """Return the alerts in force."""

    async def post(
        self,
        labels: Mapping[str, str],
        annotations: Mapping[str, str],
        *,
        started: datetime,
        ends: datetime,
    ) -> None:
        """Report an alert."""


# The notifications that Home Assistant shows now, by their ids.
Shown = Callable[[], Awaitable[Mapping[str, str]]]


@dataclass(frozen=True)
class Hop:
    """One step of the way: what was seen, and how long after the step before."""

    name: str
    took_ms: float
    seen: str


@dataclass(frozen=True)
class Trial:
    """How it went: the hops that were reached, and why there are no more when it is not `ok`."""

    id: str
    hops: tuple[Hop, ...]
    ok: bool
    why: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return asdict(self)

    def error(self) -> AlertLost:
        """Return the failure as an error."""
        last = self.hops[-1].name if self.hops else "nowhere"
        return AlertLost(hop=last, why=self.why)


@dataclass
class _Walk:
    """The hops so far, and the clock between them."""

    limit_s: float
    hops: list[Hop] = field(default_factory=list)
    at_s: float = field(default_factory=time.monotonic)

    async def until(
        self, name: str, look: Callable[[], Awaitable[str | None]], missing: str
    ) -> None:
        """Wait until `look` sees something; _Missed says `missing`, or why nobody could look."""
        deadline_s = time.monotonic() + self.limit_s
        reason = missing
        while time.monotonic() < deadline_s:
            try:
                seen = await look()
                reason = missing
            except BarnabeeError as error:  # it may come back while we wait
                seen, reason = None, str(error)
            if seen is not None:
                self.passed(name, seen)
                return
            await asyncio.sleep(_POLL_S)
        raise _Missed(f"after {self.limit_s:g} s: {reason}")

    def passed(self, name: str, seen: str) -> None:
        """Note a hop."""
        now_s = time.monotonic()
        self.hops.append(Hop(name, round((now_s - self.at_s) * 1000, 1), seen))
        self.at_s = now_s


class _Missed(Exception):
    """A hop was not reached."""


async def run(sender: Sender, shown: Shown, *, aloud: bool = False, limit_s: float = 60) -> Trial:
    """Send a test alert all the way and back; `limit_s` is for each hop. Never raises ours."""
    trial_id = secrets.token_hex(4)
    walk = _Walk(limit_s)
    try:
        await _there_and_back(walk, sender, shown, trial_id, aloud=aloud)
    except _Missed as missed:
        return Trial(trial_id, tuple(walk.hops), ok=False, why=str(missed))
    except BarnabeeError as error:
        return Trial(trial_id, tuple(walk.hops), ok=False, why=str(error))
    return Trial(trial_id, tuple(walk.hops), ok=True)


async def _there_and_back(
    walk: _Walk, sender: Sender, shown: Shown, trial_id: str, *, aloud: bool
) -> None:
    labels = {
        "alertname": NAME,
        "severity": "critical" if aloud else "info",
        "trial": trial_id,
    }
    annotations = {
        "summary": "This is a test of the assistant's alerts.",
        "action": f"Nothing is to be done (trial {trial_id}).",
        "runbook": f"docs/runbooks/{NAME}.md",
    }
    started = datetime.now(UTC)

    async def prometheus() -> str | None:
        return watchdog_seen(await sender.alerts(), datetime.now(UTC))

    await walk.until(
        "Prometheus", prometheus, "Alertmanager gets no Watchdog from Prometheus; is it running?"
    )
    await sender.post(labels, annotations, started=started, ends=started + _LASTS)
    try:
        mark = await _arrive(walk, sender, shown, trial_id)
    finally:
        await sender.post(labels, annotations, started=started, ends=datetime.now(UTC))
    walk.passed("ended", "reported as over")

    async def dismissed() -> str | None:
        return "the notification is gone" if mark not in await shown() else None

    await walk.until("dismissed", dismissed, "Home Assistant still shows the notification")


async def _arrive(walk: _Walk, sender: Sender, shown: Shown, trial_id: str) -> str:
    """Return the id of the notification once Home Assistant shows it."""
    marks: list[str] = []

    async def accepted() -> str | None:
        for alert in await sender.alerts():
            if alert.labels.get("trial") == trial_id:
                marks.append(mark_of(alert.fingerprint))
                return f"in force as {alert.fingerprint}"
        return None

    async def notified() -> str | None:
        return (await shown()).get(marks[-1])

    await walk.until(TAKEN, accepted, "Alertmanager took the alert and does not list it")
    missing = (
        "Home Assistant shows no such notification; is the package in it, and is the secret "
        "`home_assistant_webhook` the address of its webhook?"
    )
    await walk.until(SHOWN, notified, missing)
    return marks[-1]


def delivered_s(trial: Trial) -> float:
    """Return how long it took from reporting the alert until Home Assistant showed it. Pure."""
    return sum(hop.took_ms for hop in trial.hops if hop.name in {TAKEN, SHOWN}) / 1000


def mark_of(fingerprint: str) -> str:
    """Return the id that the package for Home Assistant gives to the notification of an alert."""
    return f"barnabee_{fingerprint}"


def watchdog_seen(alerts: list[Alert], now: datetime) -> str | None:
    """Return how fresh the Watchdog is, or None when Prometheus does not report it now. Pure."""
    ages = [now - one.updated for one in alerts if one.name == WATCHDOG]
    if not ages or min(ages) > _WATCHDOG_AGE_MAX:
        return None
    return f"its Watchdog came {max(0.0, min(ages).total_seconds()):.0f} s ago"

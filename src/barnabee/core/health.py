"""The health cascade: what one service depends on, asked concurrently, never green by default.

    healthy    every dependency answers
    degraded   a soft one does not: the service keeps working, with less
    unhealthy  a hard one does not
    unknown    nobody has looked yet, or the look itself failed; never counted as good

Knows no service; a service registers a `Check` for each thing it depends on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from barnabee.core.errors import BarnabeeError
from barnabee.core.metrics import Metrics


class State(StrEnum):
    """How something is."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


GAUGE = {State.HEALTHY: 1.0, State.DEGRADED: 0.5, State.UNHEALTHY: 0.0, State.UNKNOWN: -1.0}

# A probe returns None when all is well, Degraded(...) when half is, Unknown(...) when nobody has
# looked yet, and raises otherwise.
Probe = Callable[[], Awaitable["Degraded | Unknown | None"]]


@dataclass(frozen=True)
class Degraded:
    """A dependency that answers, but not with all it should."""

    code: str
    message: str


@dataclass(frozen=True)
class Unknown:
    """A dependency that nobody has looked at yet."""

    code: str
    message: str


@dataclass(frozen=True)
class Check:
    """One dependency: how it is asked, for how long, and whether the service can do without."""

    name: str
    probe: Probe
    hard: bool
    timeout_s: float = 2.0


@dataclass(frozen=True)
class Finding:
    """What one check found."""

    state: State
    hard: bool
    latency_ms: float
    code: str | None = None
    message: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "status": self.state.value,
            "hard": self.hard,
            "latency_ms": round(self.latency_ms, 2),
            "code": self.code,
            "message": self.message,
        }


@dataclass(frozen=True)
class Report:
    """A service's state and the findings it follows from."""

    state: State
    findings: dict[str, Finding]

    @property
    def ready(self) -> bool:
        """Return whether the service does its job, if with less."""
        return self.state in {State.HEALTHY, State.DEGRADED}

    @property
    def degraded(self) -> list[str]:
        """Return the names of the dependencies that are not healthy."""
        return [name for name, found in self.findings.items() if found.state != State.HEALTHY]


UNKNOWN = Report(State.UNKNOWN, {})


def combine(findings: Sequence[Finding]) -> State:
    """Return the service's state: the worst that its dependencies make of it. Pure."""
    hard = {found.state for found in findings if found.hard}
    if State.UNHEALTHY in hard:
        return State.UNHEALTHY
    if State.UNKNOWN in hard:
        return State.UNKNOWN
    if any(found.state != State.HEALTHY for found in findings):
        return State.DEGRADED
    return State.HEALTHY


class Health:
    """A service's checks, their last report, and the gauges that follow it."""

    def __init__(self, component: str, checks: Sequence[Check], metrics: Metrics) -> None:
        """Register `checks`; nothing is asked until `report` is awaited."""
        self.component = component
        self._checks = tuple(checks)
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._started = time.monotonic()
        self._taken_at = float("-inf")
        self.last = UNKNOWN
        for check in self._checks:
            metrics.health(check.name, GAUGE[State.UNKNOWN])

    @property
    def uptime_s(self) -> float:
        """Return seconds since this object was made."""
        return time.monotonic() - self._started

    async def report(self, *, max_age_s: float = 0.5) -> Report:
        """Return a report not older than `max_age_s`; many askers share one look."""
        async with self._lock:
            if time.monotonic() - self._taken_at <= max_age_s:
                return self.last
            found = await asyncio.gather(*(self._ask(check) for check in self._checks))
            findings = {check.name: one for check, one in zip(self._checks, found, strict=True)}
            self.last = Report(combine(found), findings)
            self._taken_at = time.monotonic()
        for name, finding in findings.items():
            self._metrics.health(name, GAUGE[finding.state])
        self._metrics.health("self", GAUGE[self.last.state])
        return self.last

    async def _ask(self, check: Check) -> Finding:
        begun = time.perf_counter()
        state, code, message = State.HEALTHY, None, None
        try:
            async with asyncio.timeout(check.timeout_s):
                answer = await check.probe()
            if answer is not None:
                state = State.UNKNOWN if isinstance(answer, Unknown) else State.DEGRADED
                code, message = answer.code, answer.message
        except TimeoutError:
            state, code = State.UNHEALTHY, "timed_out"
            message = f"{check.name} took longer than {check.timeout_s:g} s"
        except BarnabeeError as error:
            state, code, message = State.UNHEALTHY, error.code, str(error)
        except (OSError, RuntimeError, ValueError) as error:
            state, code, message = State.UNHEALTHY, "unreachable", f"{check.name}: {error}"
        latency_ms = (time.perf_counter() - begun) * 1000
        return Finding(state, check.hard, latency_ms, code, message)

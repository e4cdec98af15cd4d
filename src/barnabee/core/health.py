"""Health checks of a service's dependencies, run concurrently.

    healthy    every dependency answers
    degraded   a soft dependency does not: the service works with reduced function
    unhealthy  a hard dependency does not
    unknown    not checked yet; never counts as healthy

A service registers one `HealthCheck` for each dependency.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum

from barnabee import __version__
from barnabee.core.errors import BarnabeeError
from barnabee.core.metrics import Metrics


class HealthState(StrEnum):
    """State of a dependency or a service."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    UNHEALTHY = "unhealthy"
    UNKNOWN = "unknown"


GAUGE_VALUES = {
    HealthState.HEALTHY: 1.0,
    HealthState.DEGRADED: 0.5,
    HealthState.UNHEALTHY: 0.0,
    HealthState.UNKNOWN: -1.0,
}

# Returns None for a healthy dependency, else Degraded or Unknown; raises if the dependency is down.
HealthProbe = Callable[[], Awaitable["Degraded | Unknown | None"]]


@dataclass(frozen=True)
class Degraded:
    """Result of a probe: the dependency answers with reduced function."""

    code: str
    message: str


@dataclass(frozen=True)
class Unknown:
    """Result of a probe: the dependency has not been checked yet."""

    code: str
    message: str


@dataclass(frozen=True)
class HealthCheck:
    """Probe of one dependency; without a `hard` one the service is unhealthy."""

    name: str
    probe: HealthProbe
    hard: bool
    timeout_s: float = 2.0


@dataclass(frozen=True)
class CheckResult:
    """Result of one health check."""

    state: HealthState
    hard: bool
    latency_ms: float
    code: str | None = None
    message: str | None = None

    def as_dict(self) -> dict[str, object]:

        return {
            "status": self.state.value,
            "hard": self.hard,
            "latency_ms": round(self.latency_ms, 2),
            "code": self.code,
            "message": self.message,
        }


@dataclass(frozen=True)
class HealthReport:
    """State of a service and the results it follows from."""

    state: HealthState
    results: dict[str, CheckResult]

    @property
    def is_ready(self) -> bool:
        """Healthy or degraded."""
        return self.state in {HealthState.HEALTHY, HealthState.DEGRADED}

    @property
    def not_healthy(self) -> list[str]:
        """Names of the dependencies that are not healthy."""
        return [name for name, one in self.results.items() if one.state != HealthState.HEALTHY]


UNKNOWN_REPORT = HealthReport(HealthState.UNKNOWN, {})


def combine_states(results: Sequence[CheckResult]) -> HealthState:
    """Return the service's state from the results of its checks. Pure."""
    hard_states = {result.state for result in results if result.hard}
    if HealthState.UNHEALTHY in hard_states:
        return HealthState.UNHEALTHY
    if HealthState.UNKNOWN in hard_states:
        return HealthState.UNKNOWN
    if any(result.state != HealthState.HEALTHY for result in results):
        return HealthState.DEGRADED
    return HealthState.HEALTHY


class HealthMonitor:
    """Runs a service's health checks and exports their states as gauges."""

    def __init__(self, component: str, checks: Sequence[HealthCheck], metrics: Metrics) -> None:
        self.component = component
        self._checks = tuple(checks)
        self._metrics = metrics
        self._lock = asyncio.Lock()
        self._started = time.monotonic()
        self._checked_at = float("-inf")
        self.last_report = UNKNOWN_REPORT
        for check in self._checks:
            metrics.set_health(check.name, GAUGE_VALUES[HealthState.UNKNOWN])

    @property
    def uptime_s(self) -> float:
        return time.monotonic() - self._started

    def make_body(self, report: HealthReport, *, is_public: bool = False) -> dict[str, object]:
        """Return the body of /health, without texts, paths and the version if it `is_public`."""
        body = {"status": report.state.value, "service": self.component}
        results = {name: result.as_dict() for name, result in report.results.items()}
        if is_public:
            return body | {
                "dependencies": {
                    name: {"status": result["status"], "code": result["code"]}
                    for name, result in results.items()
                }
            }
        uptime_s = round(self.uptime_s, 1)
        return body | {"version": __version__, "uptime_s": uptime_s, "dependencies": results}

    async def report(self, *, max_age_s: float = 0.5) -> HealthReport:
        """Return a report not older than `max_age_s`; concurrent callers share one run."""
        async with self._lock:
            if time.monotonic() - self._checked_at <= max_age_s:
                return self.last_report
            results = await asyncio.gather(*(self._run(check) for check in self._checks))
            by_name = {
                check.name: result for check, result in zip(self._checks, results, strict=True)
            }
            self.last_report = HealthReport(combine_states(results), by_name)
            self._checked_at = time.monotonic()
        for name, result in by_name.items():
            self._metrics.set_health(name, GAUGE_VALUES[result.state])
        self._metrics.set_health("self", GAUGE_VALUES[self.last_report.state])
        return self.last_report

    async def _run(self, check: HealthCheck) -> CheckResult:
        begun = time.perf_counter()
        state, code, message = HealthState.HEALTHY, None, None
        try:
            async with asyncio.timeout(check.timeout_s):
                answer = await check.probe()
            if answer is not None:
                state = HealthState.UNKNOWN if isinstance(answer, Unknown) else HealthState.DEGRADED
                code, message = answer.code, answer.message
        except TimeoutError:
            state, code = HealthState.UNHEALTHY, "timed_out"
            message = f"{check.name} took longer than {check.timeout_s:g} s"
        except BarnabeeError as error:
            state, code, message = HealthState.UNHEALTHY, error.code, str(error)
        except (OSError, RuntimeError, ValueError) as error:
            state, code, message = HealthState.UNHEALTHY, "unreachable", f"{check.name}: {error}"
        latency_ms = (time.perf_counter() - begun) * 1000
        return CheckResult(state, check.hard, latency_ms, code, message)

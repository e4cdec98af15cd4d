"""What the house uses and does not run: asked now and then, each by its own rule and in its words.

A look has its own time limit and runs beside the health check, which tells what the last one found;
while something is away it is asked less and less often. Only what is configured is registered, so
what nobody wants never shows as failing. Knows no dependency by name.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from prometheus_client import Gauge

from barnabee.core.errors import BarnabeeError, DependencyDown
from barnabee.core.health import Degraded, Probe, Unknown
from barnabee.core.metrics import Metrics
from barnabee.core.schema import External

_PATIENCE_S = 0.2  # a health check waits this long for a look that is quick
_FIRST_PAUSE_S = 1.0


class Away(DependencyDown):
    """{words} ({reason})."""


class Watched:
    """One dependency; `check` is its probe for `core.health`, soft."""

    def __init__(
        self,
        name: str,
        rule: External,
        probe: Probe,
        gauge: Gauge,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember how to ask; the gauge has no series of it before the first look."""
        self._name = name
        self._rule = rule
        self._probe = probe
        self._gauge = gauge
        self._clock = clock
        self._failures = 0
        self._next_s = float("-inf")
        self._look: asyncio.Task[None] | None = None
        self._found: Degraded | Unknown | Away | None = Unknown(
            "not_asked", f"{name} was not asked yet"
        )

    async def check(self) -> Degraded | Unknown | None:
        """Return what the last look found; Away when it found nobody."""
        if self._look is None and self._clock() >= self._next_s:
            self._look = asyncio.create_task(self._ask(), name=f"external-{self._name}")
        if self._look is not None:
            await asyncio.wait([self._look], timeout=_PATIENCE_S)
        if isinstance(self._found, Away):
            raise self._found.with_traceback(None)
        return self._found

    async def _ask(self) -> None:
        reason = ""
        answer: Degraded | Unknown | None = None
        try:
            async with asyncio.timeout(self._rule.timeout_ms / 1000):
                answer = await self._probe()
        except TimeoutError:
            reason = f"no answer within {self._rule.timeout_ms} ms"
        except DependencyDown as error:
            reason = str(error.fields.get("reason", error))
        except (BarnabeeError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
        finally:
            self._look = None
        self._failures = self._failures + 1 if reason else 0
        away = Away(dependency=self._name, words=self._rule.words, reason=reason)
        self._found = away if reason else answer
        self._gauge.labels(self._name).set(0 if reason else 1)
        self._next_s = self._clock() + pause_s(self._rule, self._failures)


def pause_s(rule: External, failures: int) -> float:
    """Return how long until the next look after so many failures in a row. Pure."""
    if not failures:
        return float(rule.every_s)
    return min(float(rule.away_most_s), _FIRST_PAUSE_S * 2.0 ** min(failures - 1, 16))


def gauge_of(metrics: Metrics) -> Gauge:
    """Register the series that alerts and dashboards read."""
    return Gauge(
        "barnabee_external_up",
        "1 while this dependency outside the house answers, 0 while it does not.",
        ("dependency",),
        registry=metrics.registry,
    )


def watched(
    rules: Mapping[str, External], probes: Mapping[str, Probe], metrics: Metrics
) -> dict[str, Probe]:
    """Return the health probes of the dependencies in `probes`, by their names in `rules`."""
    gauge = gauge_of(metrics)
    return {name: Watched(name, rules[name], probe, gauge).check for name, probe in probes.items()}

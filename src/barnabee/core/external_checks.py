"""Health checks of external services, each with its own interval, timeout and message.

A check runs in its own task; the health report gets its last result. While a service fails, the
interval backs off. Only configured services are registered.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping

from prometheus_client import Gauge

from barnabee.core.backoff import backoff_s
from barnabee.core.errors import BarnabeeError, DependencyDown
from barnabee.core.health import Degraded, HealthProbe, Unknown
from barnabee.core.metrics import Metrics
from barnabee.core.schema import ExternalConfig

_WAIT_S = 0.2  # how long a health report waits for a running check
_FIRST_RETRY_S = 1.0


class ExternalServiceDown(DependencyDown):
    """{message} ({reason})."""


class ExternalCheck:
    """Check of one external service; `check` is a soft probe for `core.health`."""

    def __init__(
        self,
        name: str,
        config: ExternalConfig,
        probe: HealthProbe,
        gauge: Gauge,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._name = name
        self._config = config
        self._probe = probe
        self._gauge = gauge
        self._clock = clock
        self._failures = 0
        self._next_s = float("-inf")
        self._running: asyncio.Task[None] | None = None
        self._result: Degraded | Unknown | ExternalServiceDown | None = Unknown(
            "not_asked", f"{name} was not checked yet"
        )

    async def check(self) -> Degraded | Unknown | None:
        """Return the last result and start a new check if one is due.

        Raises ExternalServiceDown if the last check failed.
        """
        if self._running is None and self._clock() >= self._next_s:
            self._running = asyncio.create_task(self._run(), name=f"external-{self._name}")
        if self._running is not None:
            await asyncio.wait([self._running], timeout=_WAIT_S)
        if isinstance(self._result, ExternalServiceDown):
            raise self._result.with_traceback(None)
        return self._result

    async def _run(self) -> None:
        reason = ""
        result: Degraded | Unknown | None = None
        try:
            async with asyncio.timeout(self._config.timeout_ms / 1000):
                result = await self._probe()
        except TimeoutError:
            reason = f"no answer within {self._config.timeout_ms} ms"
        except DependencyDown as error:
            reason = str(error.fields.get("reason", error))
        except (BarnabeeError, OSError, ValueError) as error:
            reason = str(error) or type(error).__name__
        finally:
            self._running = None
        self._failures = self._failures + 1 if reason else 0
        down = ExternalServiceDown(
            dependency=self._name, message=self._config.message, reason=reason
        )
        self._result = down if reason else result
        self._gauge.labels(self._name).set(0 if reason else 1)
        self._next_s = self._clock() + next_check_delay_s(self._config, self._failures)


def next_check_delay_s(config: ExternalConfig, failures: int) -> float:
    """Return the delay until the next check after `failures` failures in a row. Pure."""
    if not failures:
        return float(config.every_s)
    return backoff_s(failures, _FIRST_RETRY_S, config.backoff_max_s)


def make_gauge(metrics: Metrics) -> Gauge:
    """Register `barnabee_external_up`; a service has no series before its first check."""
    return Gauge(
        "barnabee_external_up",
        "1 while the external service answers, 0 while it does not.",
        ("dependency",),
        registry=metrics.registry,
    )


def make_probes(
    configs: Mapping[str, ExternalConfig], probes: Mapping[str, HealthProbe], metrics: Metrics
) -> dict[str, HealthProbe]:
    """Return the health probes for the services in `probes`, with their names in `configs`."""
    gauge = make_gauge(metrics)
    return {
        name: ExternalCheck(name, configs[name], probe, gauge).check
        for name, probe in probes.items()
    }

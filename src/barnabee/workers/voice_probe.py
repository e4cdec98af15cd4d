"""Voice probe: periodic end-to-end test of the voice path, for metrics and health.

Not a job of the queue: it must report while Redis is down, and it must not be retried until it
succeeds. Without a GPU the interval is longer, because a probe then uses all cores for seconds.
While the voice path is in use it is postponed by at most one interval. After a failure it repeats
with back-off up to the interval.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import structlog

from barnabee.clients import probe
from barnabee.clients.gpu import GpuClient, ModelNames
from barnabee.clients.service_client import BearerAuth
from barnabee.core.errors import BarnabeeError
from barnabee.core.health import Degraded, Unknown
from barnabee.core.rate_limit import backoff_s

if TYPE_CHECKING:
    from barnabee.clients.probe import ProbeResult
    from barnabee.clients.service_client import TokenSource
    from barnabee.core.schema import ProbeConfig, System
    from barnabee.core.settings import Settings
    from barnabee.workers.metrics import ProbeMetrics

MAIN_MEMORY = "main memory"  # name of the GPU in `GET /v1/vram` when there is none
FIRST_BACKOFF_S = 2.0
BUSY_RETRY_S = 15.0
STALE_AFTER_INTERVALS = 3

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class GpuActivity:
    """Current load of the inference service."""

    has_gpu: bool = True
    is_busy: bool = False

    @classmethod
    def from_vram(cls, vram: Mapping[str, Any]) -> GpuActivity:
        """Parse the body of `GET /v1/vram`; {} (a foreign server) counts as an idle GPU."""
        gpu = vram.get("card") or {}
        turns = set((vram.get("turns") or {}).values()) - {probe.SESSION}
        models = vram.get("models") or ()
        leases = {lease["session"] for model in models for lease in model.get("leases") or ()}
        return cls(gpu.get("name") != MAIN_MEMORY, bool(turns or leases - {probe.SESSION}))


class VoiceProber:
    """Runs the probe periodically and keeps the last result for the health check.

    `clock` is in seconds since the epoch.
    """

    def __init__(
        self,
        config: ProbeConfig,
        run_probe: Callable[[], Awaitable[ProbeResult]],
        read_activity: Callable[[], Awaitable[GpuActivity]],
        metrics: ProbeMetrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = config
        self._run_probe = run_probe
        self._read_activity = read_activity
        self._metrics = metrics
        self._clock = clock
        self._last: ProbeResult | None = None
        self._last_at_s = 0.0
        self._interval_s = float(config.every_s)
        self._waiting_since_s: float | None = None
        self._failures = 0

    async def run_for_ever(self) -> None:
        """Probe until cancelled."""
        while True:
            try:
                pause_s = await self.step()
            except Exception:  # a supervisor: a bug in the probe counts as a failed probe
                log.exception("probe_broken", code=BarnabeeError.code)
                pause_s = self._record(make_failed_result())
            await asyncio.sleep(pause_s)

    async def step(self) -> float:
        """Probe, unless the voice path is in use; return the seconds until the next step."""
        activity = await self._read_activity()
        config = self._config
        interval_s = config.every_s if activity.has_gpu else config.every_without_gpu_s
        self._interval_s = float(interval_s)
        if activity.is_busy and self._may_postpone():
            return BUSY_RETRY_S
        self._waiting_since_s = None
        result = await self._run_probe()
        _log_result(result)
        return self._record(result)

    async def check(self) -> Degraded | Unknown | None:
        """Return None when the last probe succeeded and is recent."""
        if self._last is None:
            return Unknown("not_probed", "the voice path has not been tested yet")
        if self._last.code is not None:
            return Degraded(self._last.code, f"at {self._last.stage}: {self._last.message}")
        age_s = self._clock() - self._last_at_s
        if age_s > STALE_AFTER_INTERVALS * self._interval_s:
            return Degraded("probe_stale", f"the voice path was last tested {age_s:.0f} s ago")
        return None

    def _may_postpone(self) -> bool:
        now_s = self._clock()
        if self._waiting_since_s is None:
            self._waiting_since_s = now_s
        return now_s - self._waiting_since_s < self._interval_s

    def _record(self, result: ProbeResult) -> float:
        """Record `result`; return the seconds until the next step."""
        self._last, self._last_at_s = result, self._clock()
        self._failures = 0 if result.success else self._failures + 1
        self._metrics.record(result, self._last_at_s)
        if not self._failures:
            return self._interval_s
        return backoff_s(self._failures, FIRST_BACKOFF_S, self._interval_s)


def make_failed_result() -> ProbeResult:
    """Return the result of a probe that raised an unexpected exception."""
    return probe.ProbeResult(stage="hear", code=BarnabeeError.code, message=str(BarnabeeError()))


def _log_result(result: ProbeResult) -> None:
    write = log.info if result.success else log.warning
    write(
        "probe",
        stage=result.stage,
        code=result.code,
        reason=result.message,
        latency_ms=result.stages_ms.get("total"),
        stages_ms=result.stages_ms,
        over_budget=result.over_budget,
        degraded=result.degraded,
        engine=result.engine,
    )


class ProbeClient:
    """Clients of gpu and api for the probe; connections are opened on first use."""

    def __init__(
        self, system: System, settings: Settings, *, talk: TokenSource, infer: TokenSource
    ) -> None:
        limit_s = system.probe.limit_ms / 1000
        self._question = probe.load_question()
        self._http = httpx.AsyncClient(
            base_url=settings.api_url, auth=BearerAuth(talk), trust_env=False
        )
        names = ModelNames.from_settings(settings)
        gpu = GpuClient(settings.gpu_service_urls, infer, names=names, timeout_s=limit_s)
        rate_hz, budgets_ms = system.voice.sample_rate_hz, probe.read_budgets_ms(system)
        self._targets = probe.ProbeTargets(gpu, self._http, rate_hz, budgets_ms, limit_s)

    async def run_probe(self) -> ProbeResult:
        return await probe.run_probe(self._targets, self._question)

    async def read_activity(self) -> GpuActivity:
        """Return the load of the inference service; an idle GPU when it does not answer."""
        try:
            return GpuActivity.from_vram(await self._targets.gpu.read_vram())
        except (ValueError, TypeError, KeyError, AttributeError):  # a foreign server's
            return GpuActivity()

    async def aclose(self) -> None:
        await self._targets.gpu.aclose()
        await self._http.aclose()

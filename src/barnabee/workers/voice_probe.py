"""Tries the voice path every now and then, and remembers how it went: metrics and health.

Not a job of the queue: it has to tell how hearing and speaking are while Redis is away, and it must
not be tried again until it succeeds. When there is no card it is rarer, because there it takes all
cores for seconds; while somebody talks it waits, but at most one interval. After a failure it is
tried again soon, ever later up to the interval.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from barnabee.core.errors import BarnabeeError
from barnabee.core.health import Degraded, Unknown

if TYPE_CHECKING:
    from barnabee.clients.probe import Result
    from barnabee.core.schema import Probe
    from barnabee.workers.metrics import ProbeMetrics

OWN_SESSION = "probe"  # `clients.probe.SESSION`, which brings httpx along
MAIN_MEMORY = "main memory"  # how the gpu service calls its card when there is none
FIRST_AGAIN_S = 2.0
BUSY_AGAIN_S = 15.0
STALE_AFTER = 3  # intervals

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Situation:
    """What the gpu service is doing."""

    card: bool = True
    busy: bool = False

    @classmethod
    def read(cls, vram: Mapping[str, Any]) -> Situation:
        """Return what `GET /v1/vram` says; a foreign server says nothing, and has a card."""
        card = vram.get("card") or {}
        turns = set((vram.get("turns") or {}).values()) - {OWN_SESSION}
        leases = any(model.get("leases") for model in vram.get("models") or ())
        return cls(card.get("name") != MAIN_MEMORY, bool(turns or leases))


class Prober:
    """Asks again and again; `check` is what health makes of it."""

    def __init__(
        self,
        plan: Probe,
        ask: Callable[[], Awaitable[Result]],
        look: Callable[[], Awaitable[Situation]],
        metrics: ProbeMetrics,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Know nothing yet; `clock` is in seconds since the epoch."""
        self._plan = plan
        self._ask = ask
        self._look = look
        self._metrics = metrics
        self._clock = clock
        self._last: Result | None = None
        self._at_s = 0.0
        self._interval_s = float(plan.every_s)
        self._waits_since_s: float | None = None
        self._failures = 0

    async def run_for_ever(self) -> None:
        """Probe until cancelled."""
        while True:
            try:
                pause_s = await self.step()
            except Exception:  # a supervisor: a mistake in the probe is a failed probe, told as one
                log.exception("probe_broken", code=BarnabeeError.code)
                pause_s = self._took_note(broken())
            await asyncio.sleep(pause_s)

    async def step(self) -> float:
        """Probe, unless somebody talks; return after how many seconds to come again."""
        situation = await self._look()
        plan = self._plan
        self._interval_s = float(plan.every_s if situation.card else plan.every_without_card_s)
        if situation.busy and self._may_wait():
            return BUSY_AGAIN_S
        self._waits_since_s = None
        result = await self._ask()
        _tell(result)
        return self._took_note(result)

    async def check(self) -> Degraded | Unknown | None:
        """Return None when the last probe went well and is not too old."""
        if self._last is None:
            return Unknown("not_probed", "the voice path has not been tried yet")
        if self._last.code is not None:
            return Degraded(self._last.code, f"at {self._last.stage}: {self._last.message}")
        age_s = self._clock() - self._at_s
        if age_s > STALE_AFTER * self._interval_s:
            return Degraded("probe_stale", f"the voice path was last tried {age_s:.0f} s ago")
        return None

    def _may_wait(self) -> bool:
        now_s = self._clock()
        if self._waits_since_s is None:
            self._waits_since_s = now_s
        return now_s - self._waits_since_s < self._interval_s

    def _took_note(self, result: Result) -> float:
        """Remember `result`; return when to come again."""
        self._last, self._at_s = result, self._clock()
        self._failures = 0 if result.success else self._failures + 1
        self._metrics.record(result, self._at_s)
        if not self._failures:
            return self._interval_s
        return min(FIRST_AGAIN_S * 2.0 ** min(self._failures - 1, 16), self._interval_s)


def broken() -> Result:
    """Return the result of a probe that fell over its own feet."""
    from barnabee.clients.probe import Result  # noqa: PLC0415 - see OWN_SESSION

    return Result(stage="hear", code=BarnabeeError.code, message=str(BarnabeeError()))


def _tell(result: Result) -> None:
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

"""Latency estimator: time to the reply, from recent stage durations and the state of the models.

The same sentence takes 200 ms when all models are in VRAM, and seconds when one has to be loaded or
is busy with another room, so a constant would not do.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MAX_SAMPLES = 50  # of each stage: about one evening
PERCENTILE = 75  # an unnecessary filler costs less than silence
ANY_INTENT = ""


@dataclass(frozen=True, slots=True)
class ModelState:
    """State of a model in GET /v1/vram."""

    ready: bool
    reload_ms: int
    users: int  # current leases

    @classmethod
    def from_ledger(cls, ledger: Mapping[str, Any]) -> dict[str, ModelState]:
        """Return by task the state of its first model, of a ready one if there is any."""
        found: dict[str, ModelState] = {}
        for model in ledger.get("models", ()):
            state = cls(model["state"] == "ready", int(model["reload_ms"]), len(model["leases"]))
            known = found.get(model["task"])
            if known is None or (state.ready and not known.ready):
                found[model["task"]] = state
        return found


class LatencyEstimator:
    """Recent durations by stage and intent; `budget_ms` is used until one was measured."""

    def __init__(self, budget_ms: Mapping[str, int]) -> None:
        self._budget_ms = budget_ms
        self._took_ms: dict[tuple[str, str], deque[float]] = defaultdict(
            lambda: deque(maxlen=MAX_SAMPLES)
        )

    def add_sample(self, stage: str, took_ms: float, intent: str = ANY_INTENT) -> None:
        for key in {(stage, intent), (stage, ANY_INTENT)}:
            self._took_ms[key].append(took_ms)

    def estimate_stage_ms(self, stage: str, intent: str = ANY_INTENT) -> float:
        for key in ((stage, intent), (stage, ANY_INTENT)):
            took_ms = self._took_ms.get(key)
            if took_ms:
                return compute_percentile(took_ms, PERCENTILE)
        return float(self._budget_ms.get(stage, 0))

    def estimate_rest_ms(
        self,
        stages: Iterable[tuple[str, str]],
        models: Mapping[str, ModelState],
        *,
        intent: str = ANY_INTENT,
    ) -> int:
        """Return the expected duration of the rest of a turn in ms.

        `stages` are pairs of stage and task of the required model ("" for none), in order. Adds the
        load time of a model that is not ready, and the queueing time of one that others use.
        """
        total = 0.0
        for stage, task in stages:
            duration_ms = self.estimate_stage_ms(stage, intent)
            state = models.get(task)
            if state and not state.ready:
                total += state.reload_ms
            elif state:
                total += duration_ms * state.users
            total += duration_ms
        return round(total)


def compute_percentile(values: Sequence[float] | deque[float], percent: int) -> float:
    """Return the nearest-rank percentile of `values`. Pure."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]

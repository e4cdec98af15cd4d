"""How long an answer will take: from how long answers took, and from whether the models are there.

A constant would be wrong every evening: the same sentence takes 200 ms when every model is on the
card and seconds when one has to be loaded, or when somebody else is being heard first. Pure but for
the memory of the last durations; the voice feeds it and asks it.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

REMEMBERED = 50  # of each stage: an evening's worth, so that yesterday's slow card is forgotten
PERCENTILE = 75  # a filler that was not needed costs less than a silence that nobody filled
UNKNOWN = ""  # the intent before it is understood


@dataclass(frozen=True, slots=True)
class ModelState:
    """How a model is, as GET /v1/vram tells it."""

    ready: bool
    reload_ms: int
    users: int  # leases on it now

    @classmethod
    def read(cls, ledger: Mapping[str, Any]) -> dict[str, ModelState]:
        """Return the state of every task's first model by task; what is not told is left out."""
        found: dict[str, ModelState] = {}
        for model in ledger.get("models", ()):
            state = cls(model["state"] == "ready", int(model["reload_ms"]), len(model["leases"]))
            known = found.get(model["task"])
            if known is None or (state.ready and not known.ready):
                found[model["task"]] = state
        return found


class Estimate:
    """Durations of the last turns by stage and intent, and what they say about the next one."""

    def __init__(self, budget_ms: Mapping[str, int]) -> None:
        """Take what each stage should take, which is believed until something was measured."""
        self._budget_ms = budget_ms
        self._took_ms: dict[tuple[str, str], deque[float]] = defaultdict(
            lambda: deque(maxlen=REMEMBERED)
        )

    def learn(self, stage: str, took_ms: float, intent: str = UNKNOWN) -> None:
        """Record how long a stage took, for this intent and for all."""
        for key in {(stage, intent), (stage, UNKNOWN)}:
            self._took_ms[key].append(took_ms)

    def stage_ms(self, stage: str, intent: str = UNKNOWN) -> float:
        """Return what a stage will probably take."""
        for key in ((stage, intent), (stage, UNKNOWN)):
            took_ms = self._took_ms.get(key)
            if took_ms:
                return percentile(took_ms, PERCENTILE)
        return float(self._budget_ms.get(stage, 0))

    def answer_ms(
        self,
        stages: Iterable[tuple[str, str]],
        models: Mapping[str, ModelState],
        *,
        intent: str = UNKNOWN,
    ) -> int:
        """Return what the rest of a turn will take, in ms.

        `stages` are (stage, task of the model it needs or ""), in order. A model that is not there
        is loaded first, which no measurement of warm turns knows; one that others use answers them
        first.
        """
        total = 0.0
        for stage, task in stages:
            own_ms = self.stage_ms(stage, intent)
            state = models.get(task)
            if state and not state.ready:
                total += state.reload_ms
            elif state:
                total += own_ms * state.users
            total += own_ms
        return round(total)


def percentile(values: Sequence[float] | deque[float], percent: int) -> float:
    """Return the value that `percent` of `values` do not exceed (nearest rank). Pure."""
    ranked = sorted(values)
    return ranked[max(0, -(-len(ranked) * percent // 100) - 1)]

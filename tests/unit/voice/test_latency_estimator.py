"""Latency estimates from measurements, budgets and model states."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.voice.fillers import (
    MAX_SAMPLES,
    LatencyEstimator,
    ModelState,
    compute_percentile,
)

BUDGET = {"stt": 500, "llm": 1500, "tts_first_byte": 300}
STAGES = (("stt", "stt"), ("tts_first_byte", "tts"))
READY = ModelState(ready=True, reload_ms=4000, users=0)


def model(task: str, state: str, *, users: int = 0) -> dict[str, Any]:
    leases = [{"session": "", "left_ms": 1}] * users
    return {"task": task, "state": state, "reload_ms": 4000, "leases": leases}


def test_budgets_are_used_before_the_first_measurement() -> None:
    assert LatencyEstimator(BUDGET).estimate_rest_ms(STAGES, {}) == 800


def test_estimate_is_a_high_percentile_of_the_measurements() -> None:
    estimator = LatencyEstimator(BUDGET)
    for took_ms in (100, 200, 300, 400):
        estimator.add_sample("stt", took_ms)
    assert estimator.estimate_stage_ms("stt") == 300


def test_estimates_are_kept_by_intent() -> None:
    estimator = LatencyEstimator(BUDGET)
    for _ in range(10):
        estimator.add_sample("answer", 20, "time")
        estimator.add_sample("answer", 2500, "conversation")
    assert estimator.estimate_stage_ms("answer", "time") == 20
    assert estimator.estimate_stage_ms("answer", "conversation") == 2500
    assert estimator.estimate_stage_ms("answer", "unknown") == 2500


def test_old_measurements_are_dropped() -> None:
    estimator = LatencyEstimator(BUDGET)
    for _ in range(MAX_SAMPLES):
        estimator.add_sample("stt", 9000)
    for _ in range(MAX_SAMPLES):
        estimator.add_sample("stt", 100)
    assert estimator.estimate_stage_ms("stt") == 100


def test_load_time_of_a_cold_model_is_added() -> None:
    cold = {"tts": ModelState(ready=False, reload_ms=4000, users=0), "stt": READY}
    assert LatencyEstimator(BUDGET).estimate_rest_ms(STAGES, cold) == 4800


def test_queueing_time_of_a_busy_model_is_added() -> None:
    busy = {"stt": ModelState(ready=True, reload_ms=4000, users=2), "tts": READY}
    assert LatencyEstimator(BUDGET).estimate_rest_ms(STAGES, busy) == 1800


def test_ledger_gives_one_state_by_task_and_prefers_a_ready_model() -> None:
    rows = [model("stt", "failed"), model("stt", "ready", users=1), model("tts", "loading")]
    assert ModelState.from_ledger({"models": rows}) == {
        "stt": ModelState(ready=True, reload_ms=4000, users=1),
        "tts": ModelState(ready=False, reload_ms=4000, users=0),
    }
    assert ModelState.from_ledger({}) == {}


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60), st.integers(1, 100))
def test_percentile_is_the_smallest_value_with_the_required_rank(
    values: list[int], percent: int
) -> None:
    found = compute_percentile(deque(values), percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (75, 3), (100, 4), (1, 1)])
def test_percentiles_by_nearest_rank(percent: int, expected: int) -> None:
    assert compute_percentile([4, 1, 3, 2], percent) == expected

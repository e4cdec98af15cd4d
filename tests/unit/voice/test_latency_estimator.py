"""How long an answer will take."""

from __future__ import annotations

from collections import deque
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.voice.latency_estimator import REMEMBERED, Estimate, ModelState, percentile

BUDGET = {"stt": 500, "llm": 1500, "tts_first_byte": 300}
WAY = (("stt", "stt"), ("tts_first_byte", "tts"))
HERE = ModelState(ready=True, reload_ms=4000, users=0)


def model(task: str, state: str, *, users: int = 0) -> dict[str, Any]:
    leases = [{"session": "", "left_ms": 1}] * users
    return {"task": task, "state": state, "reload_ms": 4000, "leases": leases}


def test_before_anything_was_measured_the_budgets_are_believed() -> None:
    assert Estimate(BUDGET).answer_ms(WAY, {}) == 800


def test_what_was_measured_counts_and_rather_a_slow_one() -> None:
    one = Estimate(BUDGET)
    for took_ms in (100, 200, 300, 400):
        one.learn("stt", took_ms)
    assert one.stage_ms("stt") == 300


def test_an_intent_that_is_slow_is_known_to_be_slow() -> None:
    one = Estimate(BUDGET)
    for _ in range(10):
        one.learn("answer", 20, "time")
        one.learn("answer", 2500, "conversation")
    assert one.stage_ms("answer", "time") == 20
    assert one.stage_ms("answer", "conversation") == 2500
    assert one.stage_ms("answer", "never_heard") == 2500


def test_what_is_long_ago_is_forgotten() -> None:
    one = Estimate(BUDGET)
    for _ in range(REMEMBERED):
        one.learn("stt", 9000)
    for _ in range(REMEMBERED):
        one.learn("stt", 100)
    assert one.stage_ms("stt") == 100


def test_a_model_that_is_not_there_is_loaded_first() -> None:
    cold = {"tts": ModelState(ready=False, reload_ms=4000, users=0), "stt": HERE}
    assert Estimate(BUDGET).answer_ms(WAY, cold) == 4800


def test_a_model_that_others_use_answers_them_first() -> None:
    busy = {"stt": ModelState(ready=True, reload_ms=4000, users=2), "tts": HERE}
    assert Estimate(BUDGET).answer_ms(WAY, busy) == 1800


def test_the_ledger_is_read_by_task_and_one_that_is_ready_counts() -> None:
    rows = [model("stt", "failed"), model("stt", "ready", users=1), model("tts", "loading")]
    assert ModelState.read({"models": rows}) == {
        "stt": ModelState(ready=True, reload_ms=4000, users=1),
        "tts": ModelState(ready=False, reload_ms=4000, users=0),
    }
    assert ModelState.read({}) == {}


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=60), st.integers(1, 100))
def test_a_percentile_is_a_value_that_so_many_do_not_exceed(
    values: list[int], percent: int
) -> None:
    found = percentile(deque(values), percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    assert sum(value < found for value in values) * 100 < percent * len(values)


@pytest.mark.parametrize(("percent", "expected"), [(50, 2), (75, 3), (100, 4), (1, 1)])
def test_percentiles_by_nearest_rank(percent: int, expected: int) -> None:
    assert percentile([4, 1, 3, 2], percent) == expected

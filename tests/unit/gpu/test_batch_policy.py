from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.gpu.batch_policy import (
    MAX_TEXTS,
    MAX_TOKENS,
    TEXT_TOKENS,
    WINDOW_S,
    Costs,
    Last,
    Line,
    Part,
    halve,
    wait_s,
    weight,
)

WEIGHTS = st.lists(st.integers(2, TEXT_TOKENS), min_size=1, max_size=256)
REQUESTS = st.lists(WEIGHTS, min_size=1, max_size=40)
PARTS = st.lists(st.integers(1, 40), min_size=1, max_size=40).map(
    lambda sizes: [Part(key, tuple(range(size))) for key, size in enumerate(sizes)]
)


def line_of(requests: list[list[int]]) -> Line:
    line = Line()
    for key, weights in enumerate(requests):
        line.add(key, weights)
    return line


def texts(batch: list[Part]) -> list[tuple[int, int]]:
    return [(part.key, index) for part in batch for index in part.indices]


# ---- the line ----


@given(REQUESTS, st.integers(1, MAX_TEXTS))
def test_every_text_is_taken_once_and_no_call_is_too_large(
    requests: list[list[int]], max_texts: int
) -> None:
    line, seen = line_of(requests), []
    while line:
        batch = line.take(max_texts)
        taken = texts(batch)
        assert 1 <= len(taken) <= max_texts
        tokens = sum(requests[key][index] for key, index in taken)
        assert tokens <= MAX_TOKENS
        assert len({part.key for part in batch}) == len(batch)
        seen += taken
    assert sorted(seen) == [(k, i) for k, one in enumerate(requests) for i in range(len(one))]
    assert line.take() == []


@given(REQUESTS)
def test_whoever_has_one_text_waits_for_no_more_than_one_text_of_each_before_him(
    requests: list[list[int]],
) -> None:
    line = line_of(requests)
    line.add(99, [10])
    before, batch = 0, line.take()
    while 99 not in {part.key for part in batch}:
        before += len(texts(batch))
        batch = line.take()
    assert before <= len(requests)


def test_a_request_with_many_texts_shares_its_calls_with_single_ones() -> None:
    line = line_of([[10] * 256])
    assert len(texts(line.take())) == MAX_TEXTS
    for key in range(1, 11):
        line.add(key, [10])
    batch = line.take()
    assert {part.key for part in batch} == set(range(11))
    assert len(texts(batch)) == MAX_TEXTS


def test_the_texts_of_a_call_are_alike_in_length() -> None:
    (part,) = line_of([[200, 3, 100, 4, 250, 5]]).take(3)
    assert part == Part(0, (1, 3, 5))


def test_one_text_goes_even_if_it_is_larger_than_a_call_may_be() -> None:
    line = line_of([[50], [50]])
    assert texts(line.take(max_tokens=10)) == [(0, 0)]
    assert texts(line.take(max_tokens=10)) == [(1, 0)]


@given(REQUESTS, st.data())
def test_who_left_is_never_taken(requests: list[list[int]], data: st.DataObject) -> None:
    line = line_of(requests)
    line.take(data.draw(st.integers(1, MAX_TEXTS)))
    gone = data.draw(st.sets(st.integers(0, len(requests) - 1)))
    for key in gone:
        line.drop(key)
        line.drop(key)
    rest = []
    while line:
        rest += line.take()
    assert not {part.key for part in rest} & gone


# ---- how long a free engine waits ----


SECONDS = st.floats(0, 10)


@given(st.integers(1, 99), SECONDS, SECONDS)
def test_after_a_call_for_one_nobody_is_waited_for(
    requests: int, fixed_s: float, now_s: float
) -> None:
    assert wait_s(requests, Last(1, now_s), fixed_s, now_s) == 0


@given(st.integers(1, 99), st.integers(0, 99), SECONDS, SECONDS)
def test_the_window_is_short_and_begins_when_the_engine_got_free(
    requests: int, served: int, fixed_s: float, idle_s: float
) -> None:
    waits_s = wait_s(requests, Last(served, 50.0), fixed_s, 50.0 + idle_s)
    assert 0 <= waits_s <= max(0.0, WINDOW_S - idle_s) + 1e-9
    assert waits_s <= fixed_s / 2 + 1e-9


def test_a_lone_caller_some_time_after_a_storm_does_not_wait() -> None:
    assert wait_s(1, Last(32, 10.0), 1.0, 10.0 + WINDOW_S) == 0


def test_who_was_served_together_is_waited_for_until_all_are_there() -> None:
    last = Last(8, 10.0)
    assert wait_s(1, last, 1.0, 10.0005) == pytest.approx(WINDOW_S - 0.0005)
    assert wait_s(8, last, 1.0, 10.0005) == 0


def test_where_a_call_costs_nothing_by_itself_nobody_is_waited_for() -> None:
    assert wait_s(1, Last(8, 10.0), 0.0, 10.0) == 0


@given(
    st.floats(0, 0.1),
    st.floats(1e-6, 0.01),
    st.lists(st.integers(2, MAX_TOKENS), min_size=2, max_size=60),
)
def test_what_a_call_costs_in_itself_is_learnt(
    fixed_s: float, each_s: float, calls: list[int]
) -> None:
    costs = Costs()
    for tokens in calls:
        costs = costs.after(tokens, fixed_s + each_s * tokens)
    learnt_s = costs.fixed_s
    assert learnt_s == 0 or learnt_s == pytest.approx(fixed_s, rel=1e-3, abs=1e-6)
    if calls[-1] > 2 * calls[-2] or calls[-2] > 2 * calls[-1]:
        assert learnt_s > 0 or fixed_s < 1e-6


def test_calls_of_one_size_say_nothing_of_what_a_call_costs() -> None:
    costs = Costs()
    for _ in range(30):
        costs = costs.after(100, 0.01)
    assert costs.fixed_s == 0


def test_what_was_long_ago_is_forgotten() -> None:
    costs = Costs()
    for tokens in [10, 1000] * 50:
        costs = costs.after(tokens, 0.5)
    for tokens in [10, 1000] * 50:
        costs = costs.after(tokens, 0.001 + 1e-5 * tokens)
    assert costs.fixed_s == pytest.approx(0.001, rel=0.05)


# ---- halving ----


@given(PARTS)
def test_halves_hold_every_text_once_and_come_down_to_single_texts(batch: list[Part]) -> None:
    singles, todo = [], [batch]
    while todo:
        one = todo.pop()
        first, second = halve(one)
        assert sorted(texts(first) + texts(second)) == sorted(texts(one))
        if second:
            todo += [first, second]
        else:
            singles += texts(one)
            assert len(texts(one)) == 1
    assert sorted(singles) == sorted(texts(batch))


def test_requests_are_parted_before_texts() -> None:
    batch = [Part(1, (0, 1, 2)), Part(2, (0,))]
    assert halve(batch) == ([Part(1, (0, 1, 2))], [Part(2, (0,))])
    assert halve([Part(1, (0, 1, 2))]) == ([Part(1, (0, 1))], [Part(1, (2,))])


# ---- weights ----


@given(st.text(max_size=3000))
def test_a_text_weighs_something_and_no_more_than_is_read(text: str) -> None:
    clean = text.encode(errors="ignore").decode()
    assert 2 <= weight(clean) <= TEXT_TOKENS

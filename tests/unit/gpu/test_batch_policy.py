from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.gpu.batch_policy import (
    MAX_TEXTS,
    MAX_TOKENS,
    MAX_TOKENS_PER_TEXT,
    WINDOW_S,
    BatchPart,
    BatchQueue,
    CallCosts,
    LastCall,
    compute_wait_s,
    estimate_tokens,
    split_batch,
)

TOKENS = st.lists(st.integers(2, MAX_TOKENS_PER_TEXT), min_size=1, max_size=256)
REQUESTS = st.lists(TOKENS, min_size=1, max_size=40)
PARTS = st.lists(st.integers(1, 40), min_size=1, max_size=40).map(
    lambda sizes: [BatchPart(key, tuple(range(size))) for key, size in enumerate(sizes)]
)


def make_queue(requests: list[list[int]]) -> BatchQueue:
    queue = BatchQueue()
    for key, tokens in enumerate(requests):
        queue.enqueue(key, tokens)
    return queue


def texts(batch: list[BatchPart]) -> list[tuple[int, int]]:
    return [(part.key, index) for part in batch for index in part.indices]


# ---- queue ----


@given(REQUESTS, st.integers(1, MAX_TEXTS))
def test_every_text_is_taken_once_within_the_limits(
    requests: list[list[int]], max_texts: int
) -> None:
    queue, seen = make_queue(requests), []
    while queue:
        batch = queue.take_batch(max_texts)
        taken = texts(batch)
        assert 1 <= len(taken) <= max_texts
        tokens = sum(requests[key][index] for key, index in taken)
        assert tokens <= MAX_TOKENS
        assert len({part.key for part in batch}) == len(batch)
        seen += taken
    assert sorted(seen) == [(k, i) for k, one in enumerate(requests) for i in range(len(one))]
    assert queue.take_batch() == []


@given(REQUESTS)
def test_single_text_waits_for_at_most_one_text_per_request(
    requests: list[list[int]],
) -> None:
    queue = make_queue(requests)
    queue.enqueue(99, [10])
    before, batch = 0, queue.take_batch()
    while 99 not in {part.key for part in batch}:
        before += len(texts(batch))
        batch = queue.take_batch()
    assert before <= len(requests)


def test_large_request_shares_calls_with_single_texts() -> None:
    queue = make_queue([[10] * 256])
    assert len(texts(queue.take_batch())) == MAX_TEXTS
    for key in range(1, 11):
        queue.enqueue(key, [10])
    batch = queue.take_batch()
    assert {part.key for part in batch} == set(range(11))
    assert len(texts(batch)) == MAX_TEXTS


def test_shortest_texts_are_taken_first() -> None:
    (part,) = make_queue([[200, 3, 100, 4, 250, 5]]).take_batch(3)
    assert part == BatchPart(0, (1, 3, 5))


def test_oversized_text_is_taken_alone() -> None:
    queue = make_queue([[50], [50]])
    assert texts(queue.take_batch(max_tokens=10)) == [(0, 0)]
    assert texts(queue.take_batch(max_tokens=10)) == [(1, 0)]


@given(REQUESTS, st.data())
def test_removed_request_is_never_taken(requests: list[list[int]], data: st.DataObject) -> None:
    queue = make_queue(requests)
    queue.take_batch(data.draw(st.integers(1, MAX_TEXTS)))
    gone = data.draw(st.sets(st.integers(0, len(requests) - 1)))
    for key in gone:
        queue.remove(key)
        queue.remove(key)
    rest = []
    while queue:
        rest += queue.take_batch()
    assert not {part.key for part in rest} & gone


# ---- waiting ----


SECONDS = st.floats(0, 10)


@given(st.integers(1, 99), SECONDS, SECONDS)
def test_no_wait_after_a_call_for_one_request(requests: int, fixed_s: float, now_s: float) -> None:
    assert compute_wait_s(requests, LastCall(1, now_s), fixed_s, now_s) == 0


@given(st.integers(1, 99), st.integers(0, 99), SECONDS, SECONDS)
def test_wait_is_bounded_and_starts_at_the_end_of_the_call(
    requests: int, served: int, fixed_s: float, idle_s: float
) -> None:
    wait_s = compute_wait_s(requests, LastCall(served, 50.0), fixed_s, 50.0 + idle_s)
    assert 0 <= wait_s <= max(0.0, WINDOW_S - idle_s) + 1e-9
    assert wait_s <= fixed_s / 2 + 1e-9


def test_single_request_after_the_window_does_not_wait() -> None:
    assert compute_wait_s(1, LastCall(32, 10.0), 1.0, 10.0 + WINDOW_S) == 0


def test_waits_until_the_last_batch_is_complete_again() -> None:
    last = LastCall(8, 10.0)
    assert compute_wait_s(1, last, 1.0, 10.0005) == pytest.approx(WINDOW_S - 0.0005)
    assert compute_wait_s(8, last, 1.0, 10.0005) == 0


def test_no_wait_without_a_fixed_cost() -> None:
    assert compute_wait_s(1, LastCall(8, 10.0), 0.0, 10.0) == 0


@given(
    st.floats(0, 0.1),
    st.floats(1e-6, 0.01),
    st.lists(st.integers(2, MAX_TOKENS), min_size=2, max_size=60),
)
def test_fixed_cost_is_learnt_from_calls(fixed_s: float, each_s: float, calls: list[int]) -> None:
    costs = CallCosts()
    for tokens in calls:
        costs = costs.with_call(tokens, fixed_s + each_s * tokens)
    learnt_s = costs.fixed_s
    assert learnt_s == 0 or learnt_s == pytest.approx(fixed_s, rel=1e-3, abs=1e-6)
    if calls[-1] > 2 * calls[-2] or calls[-2] > 2 * calls[-1]:
        assert learnt_s > 0 or fixed_s < 1e-6


def test_calls_of_one_size_do_not_determine_the_fixed_cost() -> None:
    costs = CallCosts()
    for _ in range(30):
        costs = costs.with_call(100, 0.01)
    assert costs.fixed_s == 0


def test_old_calls_lose_weight() -> None:
    costs = CallCosts()
    for tokens in [10, 1000] * 50:
        costs = costs.with_call(tokens, 0.5)
    for tokens in [10, 1000] * 50:
        costs = costs.with_call(tokens, 0.001 + 1e-5 * tokens)
    assert costs.fixed_s == pytest.approx(0.001, rel=0.05)


# ---- splitting ----


@given(PARTS)
def test_splitting_keeps_every_text_down_to_single_ones(batch: list[BatchPart]) -> None:
    singles, pending = [], [batch]
    while pending:
        one = pending.pop()
        first, second = split_batch(one)
        assert sorted(texts(first) + texts(second)) == sorted(texts(one))
        if second:
            pending += [first, second]
        else:
            singles += texts(one)
            assert len(texts(one)) == 1
    assert sorted(singles) == sorted(texts(batch))


def test_split_is_between_requests_before_texts() -> None:
    batch = [BatchPart(1, (0, 1, 2)), BatchPart(2, (0,))]
    assert split_batch(batch) == ([BatchPart(1, (0, 1, 2))], [BatchPart(2, (0,))])
    assert split_batch([BatchPart(1, (0, 1, 2))]) == ([BatchPart(1, (0, 1))], [BatchPart(1, (2,))])


# ---- token estimate ----


@given(st.text(max_size=3000))
def test_token_estimate_is_bounded(text: str) -> None:
    clean = text.encode(errors="ignore").decode()
    assert 2 <= estimate_tokens(clean) <= MAX_TOKENS_PER_TEXT

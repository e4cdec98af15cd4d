"""Order and limit of the wait queue."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from barnabee.gpu.vram import queue
from barnabee.gpu.vram.types import ModelRequest


def make_request(ticket: int, priority: int = 2, asked_ms: int = 0) -> ModelRequest:
    return ModelRequest(ticket, "model", priority, "kitchen", asked_ms, asked_ms + 100)


def test_queue_order_is_priority_then_age_then_ticket() -> None:
    waiting = [
        make_request(4, 2, 5),
        make_request(3, 1, 9),
        make_request(2, 2, 5),
        make_request(1, 3, 0),
    ]
    assert [request.ticket for request in queue.sort_requests(waiting)] == [3, 2, 4, 1]


def test_full_queue_rejects_the_newcomer() -> None:
    waiting = (make_request(1), make_request(2))
    assert queue.admit_request(waiting, make_request(3), 2) == (waiting, make_request(3))


def test_full_queue_rejects_its_least_important_request() -> None:
    waiting = (make_request(1, 3), make_request(2, 3, 1))
    assert queue.admit_request(waiting, make_request(3, 1, 2), 2) == (
        (make_request(3, 1, 2), make_request(1, 3)),
        make_request(2, 3, 1),
    )


def test_request_expires_at_its_deadline() -> None:
    waiting = (make_request(1, 3, 0), make_request(2, 1, 1))
    assert queue.find_expired(waiting, 99) == []
    assert queue.find_expired(waiting, 100) == [make_request(1, 3, 0)]
    assert queue.find_expired(waiting, 101) == [make_request(2, 1, 1), make_request(1, 3, 0)]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9)), max_size=12), st.integers(1, 5))
def test_queue_holds_the_most_important_and_loses_no_request(
    arrivals: list[tuple[int, int]], depth: int
) -> None:
    requests = [make_request(ticket, *rest) for ticket, rest in enumerate(arrivals)]
    waiting: tuple[ModelRequest, ...] = ()
    rejected_requests: list[ModelRequest] = []
    for newcomer in requests:
        waiting, rejected = queue.admit_request(waiting, newcomer, depth)
        rejected_requests += [rejected] if rejected else []
    assert list(waiting) == queue.sort_requests(requests)[:depth]
    assert sorted([*waiting, *rejected_requests], key=queue.queue_order) == queue.sort_requests(
        requests
    )

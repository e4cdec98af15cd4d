"""The line for the card: who is first, and who is turned away."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from barnabee.gpu.vram import queue
from barnabee.gpu.vram.queue import Request


def request(ticket: int, priority: int = 2, asked_ms: int = 0) -> Request:
    return Request(ticket, "model", priority, "kitchen", asked_ms, asked_ms + 100)


def test_the_important_come_first_then_who_asked_first_then_the_ticket() -> None:
    line = [request(4, 2, 5), request(3, 1, 9), request(2, 2, 5), request(1, 3, 0)]
    assert [each.ticket for each in queue.ordered(line)] == [3, 2, 4, 1]


def test_a_full_line_turns_the_newcomer_away() -> None:
    line = (request(1), request(2))
    assert queue.admit(line, request(3), 2) == (line, request(3))


def test_a_full_line_of_less_important_ones_turns_its_last_away() -> None:
    line = (request(1, 3), request(2, 3, 1))
    assert queue.admit(line, request(3, 1, 2), 2) == (
        (request(3, 1, 2), request(1, 3)),
        request(2, 3, 1),
    )


def test_who_has_waited_to_the_limit_has_waited_too_long() -> None:
    line = (request(1, 3, 0), request(2, 1, 1))
    assert queue.expired(line, 99) == []
    assert queue.expired(line, 100) == [request(1, 3, 0)]
    assert queue.expired(line, 101) == [request(2, 1, 1), request(1, 3, 0)]


@given(st.lists(st.tuples(st.integers(1, 3), st.integers(0, 9)), max_size=12), st.integers(1, 5))
def test_the_line_keeps_the_most_important_and_loses_nobody(
    asked: list[tuple[int, int]], depth: int
) -> None:
    everybody = [request(ticket, *rest) for ticket, rest in enumerate(asked)]
    line: tuple[Request, ...] = ()
    away: list[Request] = []
    for newcomer in everybody:
        line, refused = queue.admit(line, newcomer, depth)
        away += [refused] if refused else []
    assert list(line) == queue.ordered(everybody)[:depth]
    assert sorted([*line, *away], key=queue.place) == queue.ordered(everybody)

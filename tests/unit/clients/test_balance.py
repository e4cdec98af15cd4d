"""Who gets the next request: least to do among those that work, and how the others come back."""

from __future__ import annotations

import heapq
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from barnabee.clients.balance import BUSY_MOST_S, FIRST_S, MOST_S, Balance, Ticket, back_off_s


def fail(balance: Balance, server: int, now_s: float) -> None:
    ticket = balance.begin(server)
    balance.failed(ticket, now_s)
    balance.end(ticket)


def test_equals_take_turns() -> None:
    balance = Balance(3)
    for _ in range(9):
        server = balance.choose(0)
        assert server is not None
        balance.end(balance.begin(server))
    assert [one.chosen for one in balance.standings] == [7, 8, 9]


def test_whoever_has_least_to_do_is_next() -> None:
    balance = Balance(2)
    balance.begin(0)
    balance.begin(0)
    balance.begin(1)
    assert balance.choose(0) == 1


@given(st.integers(2, 5), st.integers(2, 8), st.lists(st.booleans(), min_size=200, max_size=400))
def test_a_fast_server_gets_more(count: int, times_faster: int, arrivals: list[bool]) -> None:
    balance, taken = Balance(count), Counter[int]()
    ends: list[tuple[float, int, Ticket]] = []
    for step, comes in enumerate([True] * 10 * count + arrivals):
        while ends and ends[0][0] <= step:
            balance.end(heapq.heappop(ends)[2])
        if comes:
            server = balance.choose(step)
            assert server is not None
            taken[server] += 1
            # together they do less than comes, so that it matters who is chosen
            took_s = 4 * count if server == 0 else 4 * count * times_faster
            heapq.heappush(ends, (step + took_s, step, balance.begin(server)))
    assert taken[0] >= max(taken[other] for other in range(1, count))
    assert sum(taken.values()) == sum(arrivals) + 10 * count


def test_one_server_is_always_asked_once() -> None:
    balance = Balance(1)
    for _ in range(20):
        fail(balance, 0, 0)
    assert balance.choose(0) == 0
    assert balance.choose(0, {0}) is None


def test_who_failed_is_left_alone_longer_each_time_and_not_for_ever() -> None:
    waits = [back_off_s(failures) for failures in range(1, 100)]
    assert waits[0] == FIRST_S
    assert waits == sorted(waits)
    assert waits[1] == 2 * waits[0]
    assert waits[-1] == MOST_S


def test_requests_that_fail_together_count_as_one_failure() -> None:
    balance = Balance(2)
    tickets = [balance.begin(0) for _ in range(16)]
    for ticket in tickets:
        balance.failed(ticket, 5)
        balance.end(ticket)
    assert balance.standings[0].failures == 1
    assert balance.standings[0].aside_until_s == 5 + FIRST_S


def test_who_failed_comes_back_after_a_good_look_one_request_at_a_time() -> None:
    balance = Balance(2)
    fail(balance, 0, 0)
    assert balance.due(FIRST_S / 2) == []
    assert balance.due(FIRST_S) == [0]
    assert balance.due(FIRST_S) == []  # somebody looks already
    assert balance.choose(FIRST_S) == 1
    balance.looked(0, FIRST_S, well=True)
    balance.begin(1)
    assert balance.choose(FIRST_S) == 0
    trial = balance.begin(0)
    assert [balance.choose(FIRST_S) for _ in range(3)] == [1, 1, 1]
    balance.succeeded(trial)
    balance.begin(1)
    assert balance.choose(FIRST_S) == 0  # one against two, and like any other again


def test_a_bad_look_and_a_failed_trial_make_the_wait_longer() -> None:
    balance = Balance(2)
    fail(balance, 0, 0)
    balance.due(1)
    balance.looked(0, 1, well=False)
    assert balance.standings[0].aside_until_s == 1 + 2 * FIRST_S
    balance.due(5)
    balance.looked(0, 5, well=True)
    fail(balance, 0, 5)
    assert balance.standings[0].aside_until_s == 5 + 4 * FIRST_S
    assert not balance.standings[0].vetted


def test_who_asks_to_be_left_alone_is_and_then_needs_no_trial() -> None:
    balance = Balance(2)
    ticket = balance.begin(0)
    balance.busy(ticket, 10, 3)
    balance.end(ticket)
    assert [balance.choose(12.9) for _ in range(3)] == [1, 1, 1]
    balance.end(balance.begin(1))
    assert balance.choose(13) == 0
    assert balance.due(13) == []
    balance.busy(ticket, 20, 86_400)
    assert balance.standings[0].aside_until_s == 20 + BUSY_MOST_S


def test_when_none_works_the_least_bad_is_asked() -> None:
    balance = Balance(3)
    for server, failures in enumerate((3, 1, 2)):
        for _ in range(failures):
            fail(balance, server, 0)
    assert balance.choose(0) == 1
    assert balance.choose(0, {1}) == 2
    assert balance.choose(0, {0, 1, 2}) is None


def test_somebody_who_wants_to_stay_stays_while_it_works() -> None:
    balance = Balance(2)
    balance.begin(1)
    assert balance.choose(0, stick=1) == 1
    fail(balance, 1, 0)
    assert balance.choose(0, stick=1) == 0


class Requests(RuleBasedStateMachine):
    """Any course of requests, failures, looks and waiting."""

    @initialize(count=st.integers(1, 4))
    def begin(self, count: int) -> None:
        self.balance = Balance(count)
        self.now_s = 0.0
        self.sent: list[Ticket] = []

    @rule(tried=st.sets(st.integers(0, 3)), stick=st.none() | st.integers(0, 3))
    def ask(self, tried: set[int], stick: int | None) -> None:
        able = {
            number
            for number, one in enumerate(self.balance.standings)
            if one.open(self.now_s) and number not in tried
        }
        server = self.balance.choose(self.now_s, tried, stick)
        if server is None:
            assert set(range(self.balance.count)) <= tried or (self.balance.count == 1 and tried)
            return
        assert server not in tried
        if self.balance.count > 1:
            assert server in able or not able, "one that works is always preferred"
            if stick in able:
                assert server == stick
            elif able:
                least = min(self.balance.standings[one].outstanding for one in able)
                assert self.balance.standings[server].outstanding == least
        self.sent.append(self.balance.begin(server))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), end=st.sampled_from(["well", "failed", "busy", "left"]))
    def answer(self, data: st.DataObject, end: str) -> None:
        ticket = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        if end == "well":
            self.balance.succeeded(ticket)
            assert self.balance.standings[ticket.server].failures == 0
        elif end == "failed":
            self.balance.failed(ticket, self.now_s)
        elif end == "busy":
            self.balance.busy(ticket, self.now_s, data.draw(st.floats(-1, 1e9)))
        self.balance.end(ticket)

    @rule(well=st.booleans())
    def look(self, well: bool) -> None:
        for server in self.balance.due(self.now_s):
            assert self.balance.standings[server].failures
            self.balance.looked(server, self.now_s, well=well)

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def all_is_counted_and_nobody_is_aside_for_ever(self) -> None:
        for number, one in enumerate(self.balance.standings):
            assert one.outstanding == sum(ticket.server == number for ticket in self.sent)
            assert one.aside_until_s - self.now_s <= max(MOST_S, BUSY_MOST_S) + 1e-6
            if one.failures and one.vetted and one.outstanding:
                assert not one.open(self.now_s), "one request at a time while on trial"


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)


@pytest.mark.parametrize("failures", [1, 5, 1000])
def test_a_server_that_recovers_is_like_any_other_however_often_it_failed(failures: int) -> None:
    balance = Balance(2)
    now_s = 0.0
    for _ in range(failures):
        fail(balance, 0, now_s)
        now_s += MOST_S
    balance.due(now_s)
    balance.looked(0, now_s, well=True)
    trial = balance.begin(0)
    balance.succeeded(trial)
    balance.end(trial)
    assert balance.standings[0] == type(balance.standings[0])(chosen=failures + 1)

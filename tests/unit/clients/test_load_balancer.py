"""Choice of the next server: least outstanding requests, back-off and trial."""

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

from barnabee.clients.load_balancer import (
    FIRST_BACKOFF_S,
    MAX_BACKOFF_S,
    MAX_BUSY_S,
    LoadBalancer,
    ServerAssignment,
)


def fail(balancer: LoadBalancer, server: int, now_s: float) -> None:
    assignment = balancer.begin(server)
    balancer.record_failure(assignment, now_s)
    balancer.end(assignment)


def test_equal_servers_take_turns() -> None:
    balancer = LoadBalancer(3)
    for _ in range(9):
        server = balancer.choose(0)
        assert server is not None
        balancer.end(balancer.begin(server))
    assert [state.last_chosen for state in balancer.states] == [7, 8, 9]


def test_server_with_fewest_outstanding_requests_is_next() -> None:
    balancer = LoadBalancer(2)
    balancer.begin(0)
    balancer.begin(0)
    balancer.begin(1)
    assert balancer.choose(0) == 1


@given(st.integers(2, 5), st.integers(2, 8), st.lists(st.booleans(), min_size=200, max_size=400))
def test_fast_server_gets_more_requests(
    count: int, times_faster: int, arrivals: list[bool]
) -> None:
    balancer, taken = LoadBalancer(count), Counter[int]()
    ends: list[tuple[float, int, ServerAssignment]] = []
    for step, comes in enumerate([True] * 10 * count + arrivals):
        while ends and ends[0][0] <= step:
            balancer.end(heapq.heappop(ends)[2])
        if comes:
            server = balancer.choose(step)
            assert server is not None
            taken[server] += 1
            # overloaded, so that the choice matters
            took_s = 4 * count if server == 0 else 4 * count * times_faster
            heapq.heappush(ends, (step + took_s, step, balancer.begin(server)))
    assert taken[0] >= max(taken[other] for other in range(1, count))
    assert sum(taken.values()) == sum(arrivals) + 10 * count


def test_single_server_is_always_tried_once() -> None:
    balancer = LoadBalancer(1)
    for _ in range(20):
        fail(balancer, 0, 0)
    assert balancer.choose(0) == 0
    assert balancer.choose(0, {0}) is None


def test_back_off_doubles_up_to_its_limit() -> None:
    balancer, now_s = LoadBalancer(2), 0.0
    waits: list[float] = []
    for _ in range(99):
        fail(balancer, 0, now_s)
        waits.append(balancer.states[0].paused_until_s - now_s)
        now_s = balancer.states[0].paused_until_s
    assert waits[0] == FIRST_BACKOFF_S
    assert waits == sorted(waits)
    assert waits[1] == 2 * waits[0]
    assert waits[-1] == MAX_BACKOFF_S


def test_requests_that_fail_together_count_as_one_failure() -> None:
    balancer = LoadBalancer(2)
    assignments = [balancer.begin(0) for _ in range(16)]
    for assignment in assignments:
        balancer.record_failure(assignment, 5)
        balancer.end(assignment)
    assert balancer.states[0].failures == 1
    assert balancer.states[0].paused_until_s == 5 + FIRST_BACKOFF_S


def test_healthy_server_returns_on_trial_with_one_request() -> None:
    balancer = LoadBalancer(2)
    fail(balancer, 0, 0)
    assert balancer.start_due_checks(FIRST_BACKOFF_S / 2) == []
    assert balancer.start_due_checks(FIRST_BACKOFF_S) == [0]
    assert balancer.start_due_checks(FIRST_BACKOFF_S) == []  # the check is in progress
    assert balancer.choose(FIRST_BACKOFF_S) == 1
    balancer.record_check(0, FIRST_BACKOFF_S, healthy=True)
    balancer.begin(1)
    assert balancer.choose(FIRST_BACKOFF_S) == 0
    trial = balancer.begin(0)
    assert [balancer.choose(FIRST_BACKOFF_S) for _ in range(3)] == [1, 1, 1]
    balancer.record_success(trial)
    balancer.begin(1)
    assert balancer.choose(FIRST_BACKOFF_S) == 0  # one outstanding request against two


def test_failed_check_or_trial_lengthens_the_back_off() -> None:
    balancer = LoadBalancer(2)
    fail(balancer, 0, 0)
    balancer.start_due_checks(1)
    balancer.record_check(0, 1, healthy=False)
    assert balancer.states[0].paused_until_s == 1 + 2 * FIRST_BACKOFF_S
    balancer.start_due_checks(5)
    balancer.record_check(0, 5, healthy=True)
    fail(balancer, 0, 5)
    assert balancer.states[0].paused_until_s == 5 + 4 * FIRST_BACKOFF_S
    assert not balancer.states[0].is_on_trial


def test_busy_server_is_paused_and_needs_no_trial() -> None:
    balancer = LoadBalancer(2)
    assignment = balancer.begin(0)
    balancer.record_busy(assignment, 10, 3)
    balancer.end(assignment)
    assert [balancer.choose(12.9) for _ in range(3)] == [1, 1, 1]
    balancer.end(balancer.begin(1))
    assert balancer.choose(13) == 0
    assert balancer.start_due_checks(13) == []
    balancer.record_busy(assignment, 20, 86_400)
    assert balancer.states[0].paused_until_s == 20 + MAX_BUSY_S


def test_fewest_failures_decide_when_no_server_is_available() -> None:
    balancer = LoadBalancer(3)
    for server, failures in enumerate((3, 1, 2)):
        for _ in range(failures):
            fail(balancer, server, 0)
    assert balancer.choose(0) == 1
    assert balancer.choose(0, {1}) == 2
    assert balancer.choose(0, {0, 1, 2}) is None


def test_sticky_server_is_chosen_while_it_is_available() -> None:
    balancer = LoadBalancer(2)
    balancer.begin(1)
    assert balancer.choose(0, stick=1) == 1
    fail(balancer, 1, 0)
    assert balancer.choose(0, stick=1) == 0


class Requests(RuleBasedStateMachine):
    """Any history of requests, failures, checks and waiting."""

    @initialize(count=st.integers(1, 4))
    def begin(self, count: int) -> None:
        self.balancer = LoadBalancer(count)
        self.now_s = 0.0
        self.sent: list[ServerAssignment] = []

    @rule(tried=st.sets(st.integers(0, 3)), stick=st.none() | st.integers(0, 3))
    def choose(self, tried: set[int], stick: int | None) -> None:
        available = {
            number
            for number, state in enumerate(self.balancer.states)
            if state.is_available(self.now_s) and number not in tried
        }
        server = self.balancer.choose(self.now_s, tried, stick)
        if server is None:
            assert set(range(self.balancer.count)) <= tried or (self.balancer.count == 1 and tried)
            return
        assert server not in tried
        if self.balancer.count > 1:
            assert server in available or not available, "available servers come first"
            if stick in available:
                assert server == stick
            elif available:
                least = min(self.balancer.states[number].outstanding for number in available)
                assert self.balancer.states[server].outstanding == least
        self.sent.append(self.balancer.begin(server))

    @precondition(lambda self: self.sent)
    @rule(data=st.data(), outcome=st.sampled_from(["success", "failure", "busy", "cancelled"]))
    def finish(self, data: st.DataObject, outcome: str) -> None:
        assignment = self.sent.pop(data.draw(st.integers(0, len(self.sent) - 1)))
        if outcome == "success":
            self.balancer.record_success(assignment)
            assert self.balancer.states[assignment.server].failures == 0
        elif outcome == "failure":
            self.balancer.record_failure(assignment, self.now_s)
        elif outcome == "busy":
            self.balancer.record_busy(assignment, self.now_s, data.draw(st.floats(-1, 1e9)))
        self.balancer.end(assignment)

    @rule(healthy=st.booleans())
    def check(self, healthy: bool) -> None:
        for server in self.balancer.start_due_checks(self.now_s):
            assert self.balancer.states[server].failures
            self.balancer.record_check(server, self.now_s, healthy=healthy)

    @rule(seconds=st.floats(0, 100))
    def wait(self, seconds: float) -> None:
        self.now_s += seconds

    @invariant()
    def requests_are_counted_and_pauses_are_bounded(self) -> None:
        for number, state in enumerate(self.balancer.states):
            assert state.outstanding == sum(assignment.server == number for assignment in self.sent)
            assert state.paused_until_s - self.now_s <= max(MAX_BACKOFF_S, MAX_BUSY_S) + 1e-6
            if state.failures and state.is_on_trial and state.outstanding:
                assert not state.is_available(self.now_s), "one request at a time while on trial"


TestRequests = Requests.TestCase
TestRequests.settings = settings(max_examples=150, stateful_step_count=30)


@pytest.mark.parametrize("failures", [1, 5, 1000])
def test_recovered_server_has_a_clean_state(failures: int) -> None:
    balancer = LoadBalancer(2)
    now_s = 0.0
    for _ in range(failures):
        fail(balancer, 0, now_s)
        now_s += MAX_BACKOFF_S
    balancer.start_due_checks(now_s)
    balancer.record_check(0, now_s, healthy=True)
    trial = balancer.begin(0)
    balancer.record_success(trial)
    balancer.end(trial)
    assert balancer.states[0] == type(balancer.states[0])(last_chosen=failures + 1)

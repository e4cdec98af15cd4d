from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import rate_limit
from barnabee.core.errors import RateLimited
from barnabee.core.rate_limit import RateLimiter
from support.clock import FakeClock


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def test_burst_is_allowed_and_then_limited(clock: FakeClock) -> None:
    limiter = RateLimiter(60, 3, clock)
    for _ in range(3):
        limiter.take("a")
    with pytest.raises(RateLimited) as caught:
        limiter.take("a")
    assert caught.value.retry_after_s == 1


def test_bucket_is_refilled_over_time(clock: FakeClock) -> None:
    limiter = RateLimiter(60, 2, clock)
    limiter.take("a")
    limiter.take("a")
    clock.now_s += 1
    limiter.take("a")
    with pytest.raises(RateLimited):
        limiter.take("a")


def test_request_succeeds_after_retry_after(clock: FakeClock) -> None:
    limiter = RateLimiter(7, 1, clock)
    limiter.take("a")
    with pytest.raises(RateLimited) as caught:
        limiter.take("a")
    assert caught.value.retry_after_s is not None
    clock.now_s += caught.value.retry_after_s
    limiter.take("a")


def test_clients_have_separate_buckets(clock: FakeClock) -> None:
    limiter = RateLimiter(60, 1, clock)
    limiter.take("a")
    limiter.take("b")


def test_memory_is_bounded(clock: FakeClock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limit, "MAX_CLIENTS", 10)
    limiter = RateLimiter(60, 1, clock)
    for number in range(1000):
        limiter.take(f"client {number}")
    assert len(limiter._buckets) == 10


@given(st.lists(st.floats(0, 10), max_size=60), st.integers(1, 600), st.integers(1, 20))
def test_requests_never_exceed_burst_and_rate(
    pauses_s: list[float], per_minute: int, burst: int
) -> None:
    clock = FakeClock()
    begun_s = clock.now_s
    limiter = RateLimiter(per_minute, burst, clock)
    taken = 0
    for pause_s in pauses_s:
        clock.now_s += pause_s
        try:
            limiter.take("a")
        except RateLimited:
            continue
        taken += 1
    assert taken <= burst + (clock.now_s - begun_s) * per_minute / 60 + 1e-6

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.rate_limit import backoff_s, jittered_backoff_s


@pytest.mark.parametrize(("failures", "expected_s"), [(0, 1), (1, 1), (2, 2), (4, 8), (99, 60)])
def test_wait_doubles_up_to_the_limit(failures: int, expected_s: float) -> None:
    assert backoff_s(failures, 1, 60) == expected_s


@given(st.integers(0, 10_000))
def test_jitter_never_exceeds_the_plain_wait(failures: int) -> None:
    plain_s = backoff_s(failures, 0.5, 300)
    assert plain_s / 2 <= jittered_backoff_s(failures, 0.5, 300) <= plain_s

"""Trace ids of requests."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import tracing

TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_a_callers_trace_id_is_adopted_and_passed_on() -> None:
    assert tracing.adopt_trace_id(f"00-{TRACE}-b7ad6b7169203331-01") == TRACE
    assert tracing.parse_trace_id(tracing.make_headers()[tracing.HEADER]) == TRACE


@pytest.mark.parametrize(
    "header",
    [None, "", "nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{TRACE}-b7ad-01"],
)
def test_an_invalid_header_gets_a_new_trace_id(header: str | None) -> None:
    first, second = tracing.adopt_trace_id(header), tracing.adopt_trace_id(header)
    assert first != second
    assert len(first) == 32


@given(st.text())
def test_a_random_header_is_no_error(header: str) -> None:
    assert tracing.parse_trace_id(tracing.make_headers()[tracing.HEADER])
    tracing.adopt_trace_id(header)

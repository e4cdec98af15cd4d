"""W3C trace context: adopted when well-formed, made otherwise, passed on."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import trace

GIVEN = "0af7651916cd43dd8448eb211c80319c"


def test_a_callers_trace_id_is_adopted_and_passed_on() -> None:
    assert trace.adopt(f"00-{GIVEN}-b7ad6b7169203331-01") == GIVEN
    assert trace.parse(trace.headers()[trace.HEADER]) == GIVEN


@pytest.mark.parametrize(
    "header",
    [None, "", "nonsense", f"00-{'0' * 32}-b7ad6b7169203331-01", f"00-{GIVEN}-b7ad-01"],
)
def test_anything_else_gets_a_new_one(header: str | None) -> None:
    first, second = trace.adopt(header), trace.adopt(header)
    assert first != second
    assert len(first) == 32


@given(st.text())
def test_no_header_makes_it_crash(header: str) -> None:
    assert trace.parse(trace.headers()[trace.HEADER])
    trace.adopt(header)

"""When a criterion is met, and when the house is accepted."""

from __future__ import annotations

import pytest

from barnabee.accept.criteria import Limit, Row, Verdict, accepted

LIMIT = Limit("health cascade", 60, "s")
PASSED = LIMIT.measured(60.0, "x")
FAILED = LIMIT.measured(60.1, "x")
UNCHECKED = LIMIT.unchecked("no journal")


def test_a_figure_at_its_limit_passes_and_one_above_says_what_is_too_much() -> None:
    assert (PASSED.verdict, PASSED.why) == (Verdict.PASSED, "")
    assert (FAILED.verdict, FAILED.why) == (Verdict.FAILED, "60.1 s is more than 60")


def test_trouble_fails_a_figure_within_its_limit() -> None:
    row = LIMIT.measured(1.0, "x", trouble="gpu: no answer")
    assert (row.verdict, row.why, row.figure) == (Verdict.FAILED, "gpu: no answer", 1.0)


@pytest.mark.parametrize(
    ("rows", "strictly", "allowing"),
    [
        ([PASSED, PASSED], True, True),
        ([PASSED, UNCHECKED], False, True),
        ([FAILED, PASSED], False, False),
        ([FAILED, UNCHECKED], False, False),
        ([], False, False),
    ],
)
def test_the_house_is_accepted(rows: list[Row], *, strictly: bool, allowing: bool) -> None:
    assert accepted(rows, allow_unchecked=False) is strictly
    assert accepted(rows, allow_unchecked=True) is allowing

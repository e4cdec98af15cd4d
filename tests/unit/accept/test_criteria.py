"""When a criterion passes, and when the system is accepted."""

from __future__ import annotations

import pytest

from barnabee.accept.criteria import Criterion, CriterionResult, CriterionStatus, is_accepted

LIMIT = Criterion("health cascade", 60, "s")
PASSED = LIMIT.judge(60.0, "x")
FAILED = LIMIT.judge(60.1, "x")
UNCHECKED = LIMIT.skip("no journal")


def test_a_value_at_its_limit_passes_and_one_above_fails() -> None:
    assert (PASSED.status, PASSED.reason) == (CriterionStatus.PASSED, "")
    assert (FAILED.status, FAILED.reason) == (CriterionStatus.FAILED, "60.1 s is more than 60")


def test_a_problem_fails_a_value_within_its_limit() -> None:
    row = LIMIT.judge(1.0, "x", problem="gpu: no answer")
    assert (row.status, row.reason, row.value) == (CriterionStatus.FAILED, "gpu: no answer", 1.0)


@pytest.mark.parametrize(
    ("results", "strict", "lenient"),
    [
        ([PASSED, PASSED], True, True),
        ([PASSED, UNCHECKED], False, True),
        ([FAILED, PASSED], False, False),
        ([FAILED, UNCHECKED], False, False),
        ([], False, False),
    ],
)
def test_acceptance_depends_on_every_result(
    results: list[CriterionResult], *, strict: bool, lenient: bool
) -> None:
    assert is_accepted(results, allow_unchecked=False) is strict
    assert is_accepted(results, allow_unchecked=True) is lenient

"""Acceptance criteria and their results. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class CriterionStatus(StrEnum):
    """Outcome of a criterion."""

    PASSED = "passed"
    FAILED = "failed"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class CriterionResult:
    """Result of one criterion: `value` and `limit` in `unit`; `source` says where it was read."""

    name: str
    status: CriterionStatus
    limit: int
    unit: str
    value: float | None = None
    source: str = ""
    reason: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "criterion": self.name,
            "verdict": self.status.value,
            "figure": self.value,
            "limit": self.limit,
            "unit": self.unit,
            "source": self.source,
            "why": self.reason,
        }


@dataclass(frozen=True, slots=True)
class Criterion:
    """A limit that a measured value must not exceed."""

    name: str
    limit: int
    unit: str

    def judge(self, value: float, source: str, *, problem: str = "") -> CriterionResult:
        """Return the result: passed if the value is within the limit and there is no problem."""
        value = round(value, 2)
        reason = problem
        if not reason and value > self.limit:
            reason = f"{value:g} {self.unit} is more than {self.limit}"
        status = CriterionStatus.FAILED if reason else CriterionStatus.PASSED
        return CriterionResult(self.name, status, self.limit, self.unit, value, source, reason)

    def fail(self, reason: str, source: str = "") -> CriterionResult:
        """Return the result of a measurement that failed."""
        status = CriterionStatus.FAILED
        return CriterionResult(self.name, status, self.limit, self.unit, None, source, reason)

    def skip(self, reason: str) -> CriterionResult:
        """Return the result of a criterion that cannot be measured here."""
        status = CriterionStatus.UNCHECKED
        return CriterionResult(self.name, status, self.limit, self.unit, reason=reason)


def is_accepted(results: Sequence[CriterionResult], *, allow_unchecked: bool) -> bool:
    """Return whether every criterion passed; unchecked ones only count as passed if allowed."""
    bad = {CriterionStatus.FAILED}
    if not allow_unchecked:
        bad.add(CriterionStatus.UNCHECKED)
    return bool(results) and not any(result.status in bad for result in results)

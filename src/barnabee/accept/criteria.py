"""What one acceptance criterion came to, and what all of them come to together. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """How a criterion came out."""

    PASSED = "passed"
    FAILED = "failed"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Row:
    """One criterion: `figure` and `limit` in `unit`; `source` is where the figure is from."""

    name: str
    verdict: Verdict
    limit: int
    unit: str
    figure: float | None = None
    source: str = ""
    why: str = ""

    def as_dict(self) -> dict[str, object]:
        """Return the JSON form."""
        return {
            "criterion": self.name,
            "verdict": self.verdict.value,
            "figure": self.figure,
            "limit": self.limit,
            "unit": self.unit,
            "source": self.source,
            "why": self.why,
        }


@dataclass(frozen=True, slots=True)
class Limit:
    """What a criterion is held to; makes its rows."""

    name: str
    most: int
    unit: str

    def measured(self, figure: float, source: str, *, trouble: str = "") -> Row:
        """Return the row of a figure: passed when within the limit and nothing is in trouble."""
        figure = round(figure, 2)
        why = trouble
        if not why and figure > self.most:
            why = f"{figure:g} {self.unit} is more than {self.most}"
        verdict = Verdict.FAILED if why else Verdict.PASSED
        return Row(self.name, verdict, self.most, self.unit, figure, source, why)

    def failed(self, why: str, source: str = "") -> Row:
        """Return the row of something that could not even be measured, and should have been."""
        return Row(self.name, Verdict.FAILED, self.most, self.unit, None, source, why)

    def unchecked(self, why: str) -> Row:
        """Return the row of something that cannot be measured here."""
        return Row(self.name, Verdict.UNCHECKED, self.most, self.unit, why=why)


def accepted(rows: Sequence[Row], *, allow_unchecked: bool) -> bool:
    """Return whether the house is accepted."""
    bad = {Verdict.FAILED} if allow_unchecked else {Verdict.FAILED, Verdict.UNCHECKED}
    return bool(rows) and not any(row.verdict in bad for row in rows)

"""Results: JSON lines, appended one by one, and the Markdown table made from them.

Standard library only, because the first machine may lack everything else.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

RESULTS = "results.jsonl"
TABLE = "results.md"
MACHINE = "machine"  # the section of the doctor
MAX_REASON_CHARS = 300
MISSING = "missing"  # code of what was not run because a package, a file or the device is missing


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement, or one failure when it has a `code`."""

    section: str
    name: str
    value: float | str
    unit: str = ""
    note: str = ""
    code: str = ""


class CheckFailed(Exception):
    """A measurement gave a wrong result."""

    code = "wrong_result"


class PartMissing(Exception):
    """A measurement needs something that is not there."""

    code = MISSING


@dataclass
class Recorder:
    """Appends the rows of one section to the results file."""

    directory: Path
    section: str
    failures: int = 0

    def record(self, name: str, value: float | str, unit: str = "", note: str = "") -> None:
        self._append(Row(self.section, name, value, unit, note))

    def record_times(self, name: str, times_s: list[float], note: str = "") -> None:
        """Record the median in ms, with the highest and the count as the note."""
        text = f"highest {max(times_s) * 1000:.3g}, {len(times_s)} runs"
        self.record(name, median(times_s) * 1000, "ms", "; ".join(filter(None, (text, note))))

    def fail(self, name: str, code: str, reason: str) -> None:
        self.failures += 1
        text = " ".join(reason.split()).replace("|", "/")[:MAX_REASON_CHARS]
        self._append(Row(self.section, name, text, code=code))

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Turn an error of the block into a failed row, so that the next part still runs."""
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever a library raises is a result
            code = getattr(error, "code", "")
            self.fail(
                name, code if isinstance(code, str) and code else type(error).__name__, str(error)
            )

    def _append(self, row: Row) -> None:
        with (self.directory / RESULTS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(row), ensure_ascii=False) + "\n")


def read_rows(directory: Path) -> list[Row]:
    """Return all rows so far; a line cut off by a kill is left out."""
    path = directory / RESULTS
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    rows = []
    for line in lines:
        try:
            rows.append(Row(**json.loads(line)))
        except (ValueError, TypeError):
            continue
    return rows


def drop_section(directory: Path, section: str) -> None:
    """Remove the rows of a section that is run again."""
    kept = [row for row in read_rows(directory) if row.section != section]
    lines = [json.dumps(asdict(row), ensure_ascii=False) + "\n" for row in kept]
    (directory / RESULTS).write_text("".join(lines), encoding="utf-8")


def render_table(rows: Iterable[Row], *, is_rehearsal: bool) -> str:
    """Return the Markdown of the results. Pure."""
    rows = list(rows)
    machine = [row for row in rows if row.section == MACHINE]
    measured = [row for row in rows if row.section != MACHINE]
    failed = sum(bool(row.code) for row in rows)
    title = "Rehearsal on a CPU: these are not figures of a GPU." if is_rehearsal else "GPU"
    lines = [f"# {title}", "", "| machine | |", "|---|---|"]
    lines += [f"| {row.name} | {_format_value(row)} |" for row in machine]
    lines += ["", "| section | measured | value | remark |", "|---|---|---|---|"]
    before = ""
    for row in measured:
        section = "" if row.section == before else row.section
        lines.append(f"| {section} | {row.name} | {_format_value(row)} | {row.code or row.note} |")
        before = row.section
    lines += ["", f"{len(rows)} rows, {failed} failed."]
    return "\n".join(lines) + "\n"


def _format_value(row: Row) -> str:
    if row.code:
        return f"failed: {row.value}"
    if isinstance(row.value, str):
        return row.value
    digits = f"{row.value:,.0f}" if abs(row.value) >= 100 else f"{row.value:.3g}"
    return f"{digits} {row.unit}".strip()

"""Collapse of the database since the last successful drill."""

from __future__ import annotations

import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.backup import drill, integrity
from barnabee.backup.integrity import RowBaseline
from barnabee.core import system as system_module
from barnabee.core.settings import Settings
from barnabee.store import db
from support.backup import read_live_content

SYSTEM = system_module.load_system()
AT = "2026-01-31T03:40:00.000Z"


@pytest.mark.parametrize(
    ("before", "now", "losses"),
    [
        (4740, 0, ["table turns fell from 4740 to 0 rows since " + AT]),
        (4740, 2369, ["table turns fell from 4740 to 2369 rows since " + AT]),
        (4740, 2370, []),
        (4740, 9000, []),
        (5, 0, ["table turns fell from 5 to 0 rows since " + AT]),
        (4, 0, []),
        (0, 0, []),
    ],
)
def test_a_table_collapses_by_more_than_half(before: int, now: int, losses: list[str]) -> None:
    baseline = RowBaseline(AT, {"turns": {"2026-01-30": before}, "facts": {"2026-01-30": 3}})
    assert baseline.describe_collapse({"turns": now, "facts": 3}, {}) == losses


def test_a_missing_table_has_no_rows() -> None:
    baseline = RowBaseline(AT, {"facts": {"": 20}})
    assert len(baseline.describe_collapse({"turns": 9}, {})) == 1


def test_what_retention_deletes_is_no_collapse() -> None:
    baseline = RowBaseline(AT, {"turns": {"2025-01-01": 900, "2026-01-30": 60}})
    oldest = {"turns": "2025-12-01"}
    assert baseline.describe_collapse({"turns": 60}, oldest) == []
    [loss] = baseline.describe_collapse({"turns": 29}, oldest)
    assert "from 60 to 29" in loss
    assert baseline.describe_collapse({"turns": 60}, {"spoken": "2025-12-01"})


@given(
    days=st.dictionaries(st.dates().map(str), st.integers(0, 1000)),
    oldest=st.dates().map(str),
    added=st.integers(0, 1000),
)
def test_retention_and_new_rows_never_collapse(
    days: dict[str, int], oldest: str, added: int
) -> None:
    left = sum(count for day, count in days.items() if day >= oldest)
    baseline = RowBaseline.loads(RowBaseline(AT, {"turns": days}).dumps())
    assert not baseline.describe_collapse({"turns": left + added}, {"turns": oldest})


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"at": "x", "tables": {"turns": 4}}'])
def test_an_unreadable_baseline_is_reported(tmp_path: Path, text: str) -> None:
    settings = make_settings(tmp_path)
    (settings.data_dir / drill.BASELINE_FILE).write_text(text)
    [loss] = drill.describe_collapse(SYSTEM, settings, {"turns": 9})
    assert loss.startswith(f"{drill.BASELINE_FILE} cannot be read")


# ---- a real database ----


def make_settings(folder: Path) -> Settings:
    return Settings.model_validate(
        {"BARNABEE_DATA": folder, "DATABASE_PATH": folder / "barnabee.db"}
    )


def fill_database(settings: Settings, days_ago: dict[int, int]) -> None:
    """Prepare the database with a number of turns for each age in days."""
    db.prepare_database(settings.database_path)
    with sqlite3.connect(settings.database_path) as connection:
        for age, count in days_ago.items():
            at = datetime.now(UTC) - timedelta(days=age)
            connection.executemany(
                "INSERT INTO turns VALUES (?, 's', NULL, 'u', 'r', 'i', '[]', '[]', '{}', ?)",
                [(f"{age}-{number}", f"{at:%FT%T}.000Z") for number in range(count)],
            )


def write_baseline(settings: Settings) -> None:
    with sqlite3.connect(settings.database_path) as connection:
        baseline = RowBaseline(AT, integrity.count_rows_by_day(connection))
    (settings.data_dir / drill.BASELINE_FILE).write_text(baseline.dumps())


def delete_turns(settings: Settings, older_than_days: int) -> None:
    at = datetime.now(UTC) - timedelta(days=older_than_days)
    with sqlite3.connect(settings.database_path) as connection:
        connection.execute("DELETE FROM turns WHERE created_at < ?", (f"{at:%FT%T}.000Z",))


def read_losses(settings: Settings) -> list[str]:
    content = read_live_content(settings.database_path)
    rows = {name: table.rows for name, table in content.tables.items()}
    return drill.describe_collapse(SYSTEM, settings, rows)


def test_retention_of_a_real_database_is_no_collapse_and_more_is(tmp_path: Path) -> None:
    settings, kept_days = make_settings(tmp_path), SYSTEM.retention.turns_days
    fill_database(settings, {kept_days + 1: 400, kept_days: 40, 1: 30})
    write_baseline(settings)
    delete_turns(settings, kept_days)
    assert read_losses(settings) == []
    delete_turns(settings, 0)
    assert read_losses(settings) == [f"table turns fell from 30 to 0 rows since {AT}"]

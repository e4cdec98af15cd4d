from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.backup import snapshots

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def names(*days_ago: int) -> list[str]:
    return [snapshots.snapshot_name(NOON - timedelta(days=days)) for days in days_ago]


def test_retention_keeps_the_newest_and_the_last_verified_snapshot() -> None:
    old, verified, young = names(200, 120, 3)

    assert snapshots.expired_snapshots([young, old, verified], NOON, 90, None) == [old, verified]
    assert snapshots.expired_snapshots([young, old, verified], NOON, 90, verified) == [old]
    assert snapshots.expired_snapshots([old, verified], NOON, 90, None) == [old]
    assert snapshots.expired_snapshots([old], NOON, 90, None) == []


@given(st.lists(st.integers(0, 400), unique=True), st.integers(1, 365))
def test_retention_keeps_all_young_snapshots_and_at_least_one(ages: list[int], days: int) -> None:
    existing = names(*ages)
    expired = set(snapshots.expired_snapshots(existing, NOON, days, None))
    assert expired <= set(existing)
    assert not existing or expired != set(existing)
    assert not expired & set(names(*(age for age in ages if age <= days)))


def test_an_invalid_description_is_refused() -> None:
    for text in ("", "[]", '{"name": "x"}', '{"name": 1, "packed": {}}'):
        with pytest.raises(ValueError, match=r".+"):
            snapshots.Snapshot.loads(text)

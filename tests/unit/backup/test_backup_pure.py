"""Pure functions of the backup package."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.backup import api_usage, integrity, snapshots, status
from barnabee.backup import replica as replica_module
from barnabee.backup.api_usage import LitestreamSample
from barnabee.backup.cpu_limit import CpuLimit
from barnabee.backup.replica import LtxFile
from barnabee.core import system as system_module
from barnabee.core.errors import BadRequest

SYSTEM = system_module.load_system()
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def part(level: int, first: int, last: int) -> LtxFile:
    return LtxFile(level, first, last, 100, "2026-01-31T12:00:00Z")


def database(*statements: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript(";".join(statements))
    return connection


ROWS = (
    "CREATE TABLE a (id INTEGER PRIMARY KEY, text TEXT, any)",
    "INSERT INTO a VALUES (1, 'one', 1.5), (2, 'two', NULL), (3, 'drei', x'00ff')",
)


def read(*statements: str) -> integrity.DatabaseContent:
    with closing(database(*statements)) as connection:
        return integrity.read_content(connection)


def test_content_is_equal_whatever_the_pages() -> None:
    other = (*ROWS, "DELETE FROM a WHERE id = 2", "INSERT INTO a VALUES (2, 'two', NULL)", "VACUUM")

    assert integrity.describe_differences(read(*ROWS), read(*other)) == []
    assert read(*ROWS, "CREATE TABLE _litestream_seq (id)") == read(*ROWS)


@pytest.mark.parametrize(
    ("change", "difference"),
    [
        ("DELETE FROM a WHERE id = 2", "table a has 2 rows instead of 3"),
        ("UPDATE a SET text = 'zwei' WHERE id = 2", "table a has other values in its 3 rows"),
        ("UPDATE a SET any = 'x' WHERE id = 2", "table a has other values in its 3 rows"),
        ("UPDATE a SET any = CAST(any AS TEXT) WHERE id = 3", "table a has other values"),
        ("DROP TABLE a", "table a is missing"),
        ("CREATE TABLE b (id)", "table b is there and should not be"),
        ("PRAGMA user_version = 7", "schema 7 instead of 0"),
    ],
)
def test_each_difference_is_described(change: str, difference: str) -> None:
    [found] = integrity.describe_differences(read(*ROWS), read(*ROWS, change))
    assert found.startswith(difference)


def test_content_survives_its_json_form() -> None:
    found = read(*ROWS)
    assert integrity.DatabaseContent.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def test_the_hash_does_not_depend_on_the_python_version() -> None:
    # Written down once: descriptions of snapshots are compared months later.
    xxh128 = "cf3959e87ea8a81444e74192fa3ce03b"
    rows = (
        'CREATE TABLE "a b" (x, y TEXT, PRIMARY KEY (y))',
        "INSERT INTO \"a b\" VALUES (1.5, 'ü')",
    )
    assert read(*rows).tables["a b"].xxh128 == xxh128


def test_the_ends_of_consecutive_files_can_be_restored() -> None:
    parts = [part(9, 1, 10), part(1, 11, 20), part(1, 21, 25), part(0, 26, 26), part(0, 28, 28)]

    assert replica_module.list_restorable_txids(parts) == [10, 20, 25, 26]
    replica_module.require_restorable(25, parts)
    with pytest.raises(BadRequest, match="nearest: 20 and 25"):
        replica_module.require_restorable(23, parts)
    with pytest.raises(BadRequest, match=r"nearest: 26\b"):
        replica_module.require_restorable(27, parts)


def test_a_time_without_a_zone_is_local() -> None:
    assert replica_module.normalize_time("2026-01-31T18:00:00Z") == "2026-01-31T18:00:00+00:00"
    assert (
        datetime.fromisoformat(replica_module.normalize_time("2026-01-31 18:00")).tzinfo is not None
    )


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


def test_daily_listings_stay_far_below_the_free_quota() -> None:
    replica = SYSTEM.replica
    # Something written every half second, all day, for thirty days: more than any family says.
    worst = {0: 3600, 1: 2880, 2: 720, 3: 30, 9: 30}
    quiet = api_usage.estimate_daily_listings(replica, {1: 600, 2: 400}, busy=False)
    print(
        f"listings a day: quiet {quiet}, busy {api_usage.estimate_daily_listings(replica, {})}, ",
        end="",
    )
    free = SYSTEM.backup.listings_per_day
    print(f"worst {api_usage.estimate_daily_listings(replica, worst)}, free {free}")
    assert (
        quiet
        < api_usage.estimate_daily_listings(replica, {})
        < api_usage.estimate_daily_listings(replica, worst)
    )
    assert api_usage.estimate_daily_listings(replica, worst) < SYSTEM.backup.listings_per_day * 0.6


def test_calls_are_estimated_between_samples_and_over_a_restart() -> None:
    plan = SYSTEM.replica
    first = LitestreamSample(1000.0, 900.0, 5, {"PUT": 7})
    second = LitestreamSample(1060.0, 900.0, 5, {"PUT": 9, "GET": 2})
    again = LitestreamSample(1120.0, 1100.0, 5, {"PUT": 1})

    assert api_usage.estimate_calls(plan, first, second, {}) == (2, 2, 0)
    a, b, c = api_usage.estimate_calls(plan, second, again, {})
    assert (a, b) == (1, 0)
    assert c >= api_usage.LISTINGS_AT_START
    end_of_window = LitestreamSample(1860.0, 900.0, 9, {"PUT": 12})
    assert api_usage.estimate_calls(plan, second, end_of_window, {0: 1500}) == (3, 0, 5)
    hour = LitestreamSample(3600.0, 900.0, 12, {"PUT": 15})
    assert api_usage.estimate_calls(plan, end_of_window, hour, {})[1] == 4


def test_litestream_metrics_are_parsed() -> None:
    text = (
        "# HELP x\nprocess_start_time_seconds 1.7e+09\n"
        'litestream_replica_operation_total{operation="PUT",replica_type="s3"} 12\n'
    )
    assert api_usage.parse_metrics(text, 5.0, 3) == LitestreamSample(5.0, 1.7e9, 3, {"PUT": 12})
    with pytest.raises(ValueError, match="litestream"):
        api_usage.parse_metrics("<html>", 5.0, 3)


def test_usage_is_counted_by_day_and_old_days_are_deleted(tmp_path: object) -> None:
    usage = api_usage.ApiUsage()
    for day in range(100):
        usage.add(NOON.date() + timedelta(days=day), a=day, c=1)
    usage.add(NOON.date() + timedelta(days=99), a=1)

    assert len(usage.days) == api_usage.MAX_DAYS
    assert usage.calls_on(NOON.date() + timedelta(days=99)) == api_usage.ApiCalls(a=100, c=1)
    assert usage.calls_on(NOON.date()) == api_usage.ApiCalls()


def test_the_next_time_of_day_is_today_or_tomorrow() -> None:
    assert status.next_time_of_day("12:30", NOON) == NOON + timedelta(minutes=30)
    assert status.next_time_of_day("12:00", NOON) == NOON + timedelta(days=1)
    assert status.next_time_of_day("03:10", NOON) == NOON + timedelta(hours=15, minutes=10)


def test_cpu_use_stays_within_the_limit() -> None:
    now, used, slept = [0.0], [0.0], [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept[0] += seconds

    limit = CpuLimit(25, clock=lambda: now[0], used=lambda: used[0], sleep=sleep)
    for _ in range(400):
        now[0] += 0.05
        used[0] += 0.05
        limit.throttle()

    assert used[0] / now[0] == pytest.approx(0.25, abs=0.01)
    assert limit.used_s == pytest.approx(20)
    assert CpuLimit(100, clock=lambda: 0.0, used=lambda: 50.0).sleep_due_s() == 0


def test_each_problem_has_a_warning() -> None:
    found = {
        "replica": {"error": None, "lag_transactions": 4},
        "snapshot": {"newest": "x", "at": (NOON - timedelta(hours=40)).isoformat()},
        "recovery_key": True,
        "offsite": None,
        "drill": {"last": {"success": False, "step": "replica: fetch", "reason": "lz4"}},
        "calls_today": {"b": 1, "free_b": 10, "c": 11, "free_c": 10},
        "audio": {"failures": 2, "reason": "the NAS is away"},
    }
    warnings = status.list_warnings(found, SYSTEM, NOON)
    assert len(warnings) == 6
    assert warnings[3] == "the last drill failed at the step `replica: fetch`: lz4"
    assert "11 calls of class C today, 10 are free" in warnings

"""What is decided about copies without touching one."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.backup import api_usage, checksums, snapshots, status
from barnabee.backup import replica as replica_module
from barnabee.backup.api_usage import Look
from barnabee.backup.cpu_limit import Pace
from barnabee.backup.replica import Part
from barnabee.core import system as system_module
from barnabee.core.errors import BadRequest

SYSTEM = system_module.load()
NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def part(level: int, first: int, last: int) -> Part:
    return Part(level, first, last, 100, "2026-01-31T12:00:00Z")


def database(*statements: str) -> sqlite3.Connection:
    connection = sqlite3.connect(":memory:")
    connection.executescript(";".join(statements))
    return connection


ROWS = (
    "CREATE TABLE a (id INTEGER PRIMARY KEY, text TEXT, any)",
    "INSERT INTO a VALUES (1, 'one', 1.5), (2, 'two', NULL), (3, 'drei', x'00ff')",
)


def read(*statements: str) -> checksums.Content:
    with closing(database(*statements)) as connection:
        return checksums.read(connection)


def test_equal_content_in_other_pages_is_equal() -> None:
    other = (*ROWS, "DELETE FROM a WHERE id = 2", "INSERT INTO a VALUES (2, 'two', NULL)", "VACUUM")

    assert checksums.differences(read(*ROWS), read(*other)) == []
    assert read(*ROWS, "CREATE TABLE _litestream_seq (id)") == read(*ROWS)


@pytest.mark.parametrize(
    ("change", "told"),
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
def test_what_differs_is_told(change: str, told: str) -> None:
    [found] = checksums.differences(read(*ROWS), read(*ROWS, change))
    assert found.startswith(told)


def test_content_keeps_its_json_form() -> None:
    found = read(*ROWS)
    assert checksums.Content.from_dict(json.loads(json.dumps(found.as_dict()))) == found


def test_the_hash_of_rows_is_the_same_with_every_python() -> None:
    # Written down once: descriptions of snapshots are compared months later.
    xxh128 = "cf3959e87ea8a81444e74192fa3ce03b"
    rows = (
        'CREATE TABLE "a b" (x, y TEXT, PRIMARY KEY (y))',
        "INSERT INTO \"a b\" VALUES (1.5, 'ü')",
    )
    assert read(*rows).tables["a b"].xxh128 == xxh128


def test_what_can_be_restored_are_the_ends_of_files_that_follow_one_another() -> None:
    parts = [part(9, 1, 10), part(1, 11, 20), part(1, 21, 25), part(0, 26, 26), part(0, 28, 28)]

    assert replica_module.restorable(parts) == [10, 20, 25, 26]
    replica_module.require_restorable(25, parts)
    with pytest.raises(BadRequest, match="nearest: 20 and 25"):
        replica_module.require_restorable(23, parts)
    with pytest.raises(BadRequest, match=r"nearest: 26\b"):
        replica_module.require_restorable(27, parts)


def test_a_moment_without_a_zone_is_the_houses() -> None:
    assert replica_module.require_moment("2026-01-31T18:00:00Z") == "2026-01-31T18:00:00+00:00"
    assert (
        datetime.fromisoformat(replica_module.require_moment("2026-01-31 18:00")).tzinfo is not None
    )


def names(*days_ago: int) -> list[str]:
    return [snapshots.name_of(NOON - timedelta(days=days)) for days in days_ago]


def test_old_snapshots_go_but_never_the_newest_nor_the_last_good_one() -> None:
    old, proven, young = names(200, 120, 3)

    assert snapshots.expired([young, old, proven], NOON, 90, None) == [old, proven]
    assert snapshots.expired([young, old, proven], NOON, 90, proven) == [old]
    assert snapshots.expired([old, proven], NOON, 90, None) == [old]
    assert snapshots.expired([old], NOON, 90, None) == []


@given(st.lists(st.integers(0, 400), unique=True), st.integers(1, 365))
def test_pruning_keeps_all_that_is_young_and_at_least_one(ages: list[int], days: int) -> None:
    all_of_them = names(*ages)
    gone = set(snapshots.expired(all_of_them, NOON, days, None))
    assert gone <= set(all_of_them)
    assert not all_of_them or gone != set(all_of_them)
    assert not gone & set(names(*(age for age in ages if age <= days)))


def test_a_description_that_is_none_is_refused() -> None:
    for text in ("", "[]", '{"name": "x"}', '{"name": 1, "packed": {}}'):
        with pytest.raises(ValueError, match=r".+"):
            snapshots.Snapshot.loads(text)


def test_a_day_of_listings_stays_far_below_what_is_free() -> None:
    replica = SYSTEM.replica
    # Something written every half second, all day, for thirty days: more than any house says.
    worst = {0: 3600, 1: 2880, 2: 720, 3: 30, 9: 30}
    quiet = api_usage.a_day(replica, {1: 600, 2: 400}, busy=False)
    print(f"listings a day: quiet {quiet}, busy {api_usage.a_day(replica, {})}, ", end="")
    print(f"worst {api_usage.a_day(replica, worst)}, free {SYSTEM.backup.listings_per_day}")
    assert quiet < api_usage.a_day(replica, {}) < api_usage.a_day(replica, worst)
    assert api_usage.a_day(replica, worst) < SYSTEM.backup.listings_per_day * 0.6


def test_calls_are_counted_from_look_to_look_and_over_a_restart() -> None:
    plan = SYSTEM.replica
    first = Look(1000.0, 900.0, 5, {"PUT": 7})
    second = Look(1060.0, 900.0, 5, {"PUT": 9, "GET": 2})
    again = Look(1120.0, 1100.0, 5, {"PUT": 1})

    assert api_usage.between(plan, first, second, {}) == (2, 2, 0)
    a, b, c = api_usage.between(plan, second, again, {})
    assert (a, b) == (1, 0)
    assert c >= api_usage.AT_START
    end_of_window = Look(1860.0, 900.0, 9, {"PUT": 12})
    assert api_usage.between(plan, second, end_of_window, {0: 1500}) == (3, 0, 5)
    hour = Look(3600.0, 900.0, 12, {"PUT": 15})
    assert api_usage.between(plan, end_of_window, hour, {})[1] == 4


def test_litestreams_metrics_are_read() -> None:
    text = (
        "# HELP x\nprocess_start_time_seconds 1.7e+09\n"
        'litestream_replica_operation_total{operation="PUT",replica_type="s3"} 12\n'
    )
    assert api_usage.read_metrics(text, 5.0, 3) == Look(5.0, 1.7e9, 3, {"PUT": 12})
    with pytest.raises(ValueError, match="litestream"):
        api_usage.read_metrics("<html>", 5.0, 3)


def test_the_ledger_keeps_days_apart_and_forgets_old_ones(tmp_path: object) -> None:
    ledger = api_usage.Ledger()
    for day in range(100):
        ledger.add(NOON.date() + timedelta(days=day), a=day, c=1)
    ledger.add(NOON.date() + timedelta(days=99), a=1)

    assert len(ledger.days) == api_usage.DAYS_KEPT
    assert ledger.of(NOON.date() + timedelta(days=99)) == api_usage.Day(a=100, c=1)
    assert ledger.of(NOON.date()) == api_usage.Day()


def test_the_next_time_of_the_clock() -> None:
    assert status.next_at("12:30", NOON) == NOON + timedelta(minutes=30)
    assert status.next_at("12:00", NOON) == NOON + timedelta(days=1)
    assert status.next_at("03:10", NOON) == NOON + timedelta(hours=15, minutes=10)


def test_work_is_held_to_its_share_of_a_core() -> None:
    now, used, slept = [0.0], [0.0], [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept[0] += seconds

    pace = Pace(25, clock=lambda: now[0], used=lambda: used[0], sleep=sleep)
    for _ in range(400):
        now[0] += 0.05
        used[0] += 0.05
        pace.pause()

    assert used[0] / now[0] == pytest.approx(0.25, abs=0.01)
    assert pace.used_s == pytest.approx(20)
    assert Pace(100, clock=lambda: 0.0, used=lambda: 50.0).behind_s() == 0


def test_warnings_say_what_somebody_should_know() -> None:
    found = {
        "replica": {"error": None, "lag_transactions": 4},
        "snapshot": {"newest": "x", "at": (NOON - timedelta(hours=40)).isoformat()},
        "recovery_key": True,
        "offsite": None,
        "drill": {"last": {"success": False, "step": "replica: fetch", "reason": "lz4"}},
        "calls_today": {"b": 1, "free_b": 10, "c": 11, "free_c": 10},
        "audio": {"failures": 2, "reason": "the NAS is away"},
    }
    told = status.warnings(found, SYSTEM, NOON)
    assert len(told) == 6
    assert told[3] == "the last drill failed at the step `replica: fetch`: lz4"
    assert "11 calls of class C today, 10 are free" in told

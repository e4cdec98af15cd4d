from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from barnabee.backup import api_usage
from barnabee.backup.api_usage import LitestreamSample
from barnabee.core import system as system_module

SYSTEM = system_module.load_system()


NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


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

"""Start times from the runner's record and from a journal."""

from __future__ import annotations

import json

from barnabee.accept.startup import HEALTHY, STARTED, STARTING, get_run_times, parse_journal
from barnabee.up.run_state import RunState


def make_entry(seconds: float, message_id: str, unit: str) -> str:
    at = {"__MONOTONIC_TIMESTAMP": str(int(seconds * 1_000_000))}
    return json.dumps({**at, "MESSAGE_ID": message_id, "UNIT": unit})


FIRST = json.dumps({"__MONOTONIC_TIMESTAMP": "500000", "MESSAGE": "Linux version"})
LINES = [
    make_entry(2, STARTING, "sshd.service"),
    make_entry(3, STARTED, "basic.target"),
    make_entry(10, STARTING, "barnabee-redis.service"),
    make_entry(11, STARTED, "barnabee-redis.service"),
    make_entry(30, STARTED, HEALTHY),
    make_entry(900, STARTING, "barnabee-api.service"),  # a switch, later in the same boot
    make_entry(950, STARTED, HEALTHY),
]


def test_the_journal_gives_the_first_start_of_this_boot() -> None:
    times = parse_journal(FIRST, LINES)
    assert (times.cold_s, times.cascade_s) == (29.5, 20.0)


def test_a_boot_that_never_became_healthy_has_no_figure() -> None:
    times = parse_journal(FIRST, LINES[:4])
    assert (times.cold_s, times.cascade_s) == (None, None)


def test_the_runners_record_counts_from_the_start_of_up() -> None:
    run = RunState(1, 0.0, "system.toml", asked_at=1000.0, healthy_at=1020.0, healthy_s=8.0)
    assert (get_run_times(run).cold_s, get_run_times(run).cascade_s) == (20.0, 8.0)
    assert get_run_times(RunState(1, 0.0, "system.toml", asked_at=1000.0)).cold_s is None

"""How long the start took, by the runner's record and by a journal."""

from __future__ import annotations

import json

from barnabee.accept.startup import HEALTHY, STARTED, STARTING, of_journal, of_run
from barnabee.up.run_state import RunState


def entry(seconds: float, what: str, unit: str) -> str:
    at = {"__MONOTONIC_TIMESTAMP": str(int(seconds * 1_000_000))}
    return json.dumps({**at, "MESSAGE_ID": what, "UNIT": unit})


FIRST = json.dumps({"__MONOTONIC_TIMESTAMP": "500000", "MESSAGE": "Linux version"})
LINES = [
    entry(2, STARTING, "sshd.service"),
    entry(3, STARTED, "basic.target"),
    entry(10, STARTING, "barnabee-redis.service"),
    entry(11, STARTED, "barnabee-redis.service"),
    entry(30, STARTED, HEALTHY),
    entry(900, STARTING, "barnabee-api.service"),  # a switch, later in the same boot
    entry(950, STARTED, HEALTHY),
]


def test_the_journal_gives_the_first_start_of_this_boot() -> None:
    found = of_journal(FIRST, LINES)
    assert (found.cold_s, found.cascade_s) == (29.5, 20.0)


def test_a_boot_that_never_became_healthy_has_no_figure() -> None:
    found = of_journal(FIRST, LINES[:4])
    assert (found.cold_s, found.cascade_s) == (None, None)


def test_the_runners_record_counts_from_when_it_was_asked_for() -> None:
    run = RunState(1, 0.0, "system.toml", asked_at=1000.0, healthy_at=1020.0, healthy_s=8.0)
    assert (of_run(run).cold_s, of_run(run).cascade_s) == (20.0, 8.0)
    assert of_run(RunState(1, 0.0, "system.toml", asked_at=1000.0)).cold_s is None

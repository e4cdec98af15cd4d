"""Duration of the last start, from the runner's record or from the systemd journal.

cold start   from power-on (or from the start of `up`) until everything was healthy
cascade      from the first service's start until everything was healthy
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from barnabee.up.run_state import RunState

# systemd's message ids: a unit is being started; a unit has been started (systemd.journal-fields).
STARTING = "7d4958e842da4a758f6c1cdc7b36dcc5"
STARTED = "39f53479d3a045ac8e11786248231fbf"
HEALTHY = "barnabee-healthy.target"
_JOURNAL_TIMEOUT_S = 10.0


@dataclass(frozen=True, slots=True)
class StartTimes:
    """Durations of the last start; None if it was never healthy."""

    source: str
    cold_s: float | None
    cascade_s: float | None


def get_run_times(run: RunState) -> StartTimes:
    """Return the start times of a run of `barnabee up`."""
    cold_s = None if run.healthy_at is None else run.healthy_at - run.asked_at
    return StartTimes("the runner's record", cold_s, run.healthy_s)


def parse_journal(first: str, lines: Iterable[str]) -> StartTimes:
    """Return the times of the first start of this boot.

    `first` is the boot's first record as JSON, `lines` the records of starting and started units.
    """
    booted_us = _monotonic_us(json.loads(first)) if first else None
    begun_us = healthy_us = None
    for record in map(json.loads, lines):
        unit, message_id = str(record.get("UNIT", "")), record.get("MESSAGE_ID")
        is_ours = unit.startswith("barnabee-") and unit.endswith(".service")
        if begun_us is None and is_ours and message_id == STARTING:
            begun_us = _monotonic_us(record)
        if healthy_us is None and unit == HEALTHY and message_id == STARTED:
            healthy_us = _monotonic_us(record)
    return StartTimes(
        "the journal of this boot",
        _duration_s(booted_us, healthy_us),
        _duration_s(begun_us, healthy_us),
    )


async def read_journal() -> StartTimes | None:
    """Return the times of the first start of this boot; None without a journal."""
    if shutil.which("journalctl") is None:
        return None
    first = await _run_journalctl("--lines=all", first_only=True)
    if not first:
        return None
    units = await _run_journalctl(f"MESSAGE_ID={STARTING}", f"MESSAGE_ID={STARTED}")
    return parse_journal(first[0], units)


async def _run_journalctl(*arguments: str, first_only: bool = False) -> list[str]:
    process = await asyncio.create_subprocess_exec(
        "journalctl",
        *("--boot", "--output=json", "--no-pager", "--quiet", "--all", *arguments),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        limit=1024 * 1024,
    )
    if process.stdout is None:
        return []
    try:
        async with asyncio.timeout(_JOURNAL_TIMEOUT_S):
            if first_only:
                line = (await process.stdout.readline()).decode(errors="replace")
                return [line] if line.strip() else []
            output = (await process.stdout.read()).decode(errors="replace")
            return [line for line in output.splitlines() if line]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _monotonic_us(record: dict[str, Any]) -> int:
    return int(record["__MONOTONIC_TIMESTAMP"])


def _duration_s(begin_us: int | None, end_us: int | None) -> float | None:
    return None if begin_us is None or end_us is None else (end_us - begin_us) / 1_000_000

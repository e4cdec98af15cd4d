"""How long the start took: from the local runner's own record, or from the machine's journal.

cold start   from being switched on (or asked for: `up`) until everything was healthy
cascade      from the first service's start until then
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
class Start:
    """How the last start went; None: it never came to that."""

    source: str
    cold_s: float | None
    cascade_s: float | None


def of_run(run: RunState) -> Start:
    """Return the start of a run that `barnabee up` made. Pure."""
    cold_s = None if run.healthy_at is None else run.healthy_at - run.asked_at
    return Start("the runner's record", cold_s, run.healthy_s)


def of_journal(first: str, lines: Iterable[str]) -> Start:
    """Return the first start of this boot. Pure.

    `first` is the boot's first record as JSON, `lines` those of units that begin or have started.
    """
    booted_us = _moment_us(json.loads(first)) if first else None
    begun_us = healthy_us = None
    for record in map(json.loads, lines):
        unit, what = str(record.get("UNIT", "")), record.get("MESSAGE_ID")
        ours = unit.startswith("barnabee-") and unit.endswith(".service")
        if begun_us is None and ours and what == STARTING:
            begun_us = _moment_us(record)
        if healthy_us is None and unit == HEALTHY and what == STARTED:
            healthy_us = _moment_us(record)
    return Start(
        "the journal of this boot", _between(booted_us, healthy_us), _between(begun_us, healthy_us)
    )


async def read_journal() -> Start | None:
    """Return the first start of this boot; None where there is no journal to ask."""
    if shutil.which("journalctl") is None:
        return None
    first = await _journal("--lines=all", first_only=True)
    if not first:
        return None
    units = await _journal(f"MESSAGE_ID={STARTING}", f"MESSAGE_ID={STARTED}")
    return of_journal(first[0], units)


async def _journal(*arguments: str, first_only: bool = False) -> list[str]:
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
                found = (await process.stdout.readline()).decode(errors="replace")
                return [found] if found.strip() else []
            whole = (await process.stdout.read()).decode(errors="replace")
            return [line for line in whole.splitlines() if line]
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _moment_us(record: dict[str, Any]) -> int:
    return int(record["__MONOTONIC_TIMESTAMP"])


def _between(begin_us: int | None, end_us: int | None) -> float | None:
    return None if begin_us is None or end_us is None else (end_us - begin_us) / 1_000_000

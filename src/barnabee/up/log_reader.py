"""Reads the house's log: the records of the file, of its rotated ones, and those yet to come."""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any

from barnabee.up.logfile import FILES_KEPT, rotated

_LOOK_EVERY_S = 0.2


def of_trace(path: Path, trace_id: str) -> list[dict[str, Any]]:
    """Return the records of one trace id in the log and its rotated files, oldest first."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        everything = chain(older(path), read(file))
        return [record for record in everything if record.get("trace_id") == trace_id]


def shown(
    path: Path,
    wanted: Callable[[dict[str, Any]], bool],
    most: int,
    *,
    everything: bool,
    follow: bool,
) -> Iterator[dict[str, Any]]:
    """Return the last `most` records that are `wanted`, then for ever those that come.

    `everything` looks into the rotated files as well.
    """
    with path.open(encoding="utf-8", errors="replace") as file:
        past = chain(older(path) if everything else (), read(file))
        yield from deque(filter(wanted, past), maxlen=most)
        if follow:
            yield from filter(wanted, _following(path, file))


def read(file: IO[str]) -> Iterator[dict[str, Any]]:
    """Return the records up to the end of the file; a half-written line is left for later."""
    while True:
        at = file.tell()
        line = file.readline()
        if not line.endswith("\n"):
            file.seek(at)
            return
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield {"component": "?", "level": "info", "event": ""} | record


def older(path: Path) -> Iterator[dict[str, Any]]:
    """Return the records of the rotated files, oldest first."""
    for number in range(FILES_KEPT, 0, -1):
        one = rotated(path, number)
        if one.exists():
            with one.open(encoding="utf-8", errors="replace") as file:
                yield from read(file)


def _following(path: Path, file: IO[str]) -> Iterator[dict[str, Any]]:
    """Return records as they come, for ever, through rotations."""
    while True:
        yield from read(file)
        if path.exists() and path.stat().st_ino != os.fstat(file.fileno()).st_ino:
            yield from read(file)
            with path.open(encoding="utf-8", errors="replace") as newer:
                yield from _following(path, newer)
        time.sleep(_LOOK_EVERY_S)

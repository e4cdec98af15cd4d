"""A turn's lines of the log, from the file in which a local run keeps everybody's.

Blocks: call it in a thread. Only lines that hold the trace id are parsed, so that 100 MB take a
fraction of a second.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

LINES_MAX = 500
OLDER_MAX = 9  # rotated files, `<name>.1` the newest


def of_trace(file: Path, trace_id: str) -> list[dict[str, Any]]:
    """Return the records of one trace id, oldest first."""
    wanted = trace_id.encode()
    found: list[dict[str, Any]] = []
    older = (file.with_name(f"{file.name}.{number}") for number in range(OLDER_MAX, 0, -1))
    for path in (*older, file):
        for line in _holding(path, wanted):
            record = _record(line)
            if record.get("trace_id") == trace_id:
                found.append({"component": "?", "level": "info", "event": ""} | record)
    return found[:LINES_MAX]


def _holding(path: Path, wanted: bytes) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from (line for line in file if wanted in line)
    except FileNotFoundError:
        return


def _record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}

"""Log records of a turn, from the log file of a local run or from Loki.

Only lines of the file that contain the trace id are parsed, so that 100 MB take a fraction of a
second.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from barnabee.clients import loki
from barnabee.core.settings import Settings

MAX_RECORDS = 500
MAX_ROTATED_FILES = 9  # `<name>.1` is the newest
DAY_NS = 86_400 * 1_000_000_000


class TurnLogReader:
    """Reads log records by trace id from the configured source."""

    def __init__(self, settings: Settings, retention_days: int) -> None:
        """Connect to nothing yet; Loki is queried for the last `retention_days`."""
        self._file = settings.log_file
        use_loki = settings.loki_url and not self._file
        self._loki = loki.LokiClient(settings.loki_url) if use_loki else None
        self._retention_days = retention_days

    async def read(self, trace_id: str) -> list[dict[str, Any]] | None:
        """Return the records of a turn, oldest first; None if no log is configured."""
        if self._file is not None:
            return await asyncio.to_thread(read_trace_records, self._file, trace_id)
        if self._loki is not None:
            now_ns = time.time_ns()
            begin_ns = now_ns - self._retention_days * DAY_NS
            query = loki.make_trace_query(trace_id)
            return await self._loki.query(query, begin_ns, now_ns, limit=MAX_RECORDS)
        return None

    async def aclose(self) -> None:
        if self._loki is not None:
            await self._loki.aclose()


def read_trace_records(file: Path, trace_id: str) -> list[dict[str, Any]]:
    """Return the records of `trace_id` in `file` and its rotated files, oldest first. Blocking."""
    needle = trace_id.encode()
    records: list[dict[str, Any]] = []
    rotated = (file.with_name(f"{file.name}.{n}") for n in range(MAX_ROTATED_FILES, 0, -1))
    for path in (*rotated, file):
        for line in _find_lines(path, needle):
            record = _parse_record(line)
            if record.get("trace_id") == trace_id:
                records.append({"component": "?", "level": "info", "event": ""} | record)
    return records[:MAX_RECORDS]


def _find_lines(path: Path, needle: bytes) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from (line for line in file if needle in line)
    except FileNotFoundError:
        return


def _parse_record(line: bytes) -> dict[str, Any]:
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) else {}

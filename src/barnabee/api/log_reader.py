"""A turn's lines of the log: from the file in which a local run keeps everybody's, or from Loki.

Of the file only lines that hold the trace id are parsed: 100 MB take a fraction of a second.
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

LINES_MAX = 500
OLDER_MAX = 9  # rotated files, `<name>.1` the newest


DAY_NS = 86_400 * 1_000_000_000


class Lines:
    """Where this house's log can be read, if anywhere."""

    def __init__(self, settings: Settings, kept_days: int) -> None:
        """Connect to nothing yet; lines older than `kept_days` are gone."""
        self._file = settings.log_file
        self._loki = loki.LokiClient(settings.loki_url) if settings.loki_url and not self._file else None
        self._kept_days = kept_days

    async def of(self, trace_id: str) -> list[dict[str, Any]] | None:
        """Return a turn's lines, oldest first; None where nobody keeps any that we can read."""
        if self._file is not None:
            return await asyncio.to_thread(of_trace, self._file, trace_id)
        if self._loki is not None:
            now_ns = time.time_ns()
            begin_ns = now_ns - self._kept_days * DAY_NS
            asked = loki.make_trace_query(trace_id)
            return await self._loki.query(asked, begin_ns, now_ns, limit=LINES_MAX)
        return None

    async def aclose(self) -> None:
        """Hang up."""
        if self._loki is not None:
            await self._loki.aclose()


def of_trace(file: Path, trace_id: str) -> list[dict[str, Any]]:
    """Return the records of one trace id, oldest first (blocks)."""
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

"""One log of the whole house: JSON lines in a file that is rotated by size.

Our services write JSON themselves; lines of foreign programs are wrapped here, so that whoever
reads the file meets one shape. `wrap` is pure; knows no process.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

Record = dict[str, Any]

SIZE_MAX_BYTES = 16 * 1024 * 1024
FILES_KEPT = 5
LINE_MAX_CHARS = 32_768
_NULLS: Record = dict.fromkeys(("trace_id", "session_id", "user_id", "stage", "latency_ms"))

_REDIS = re.compile(r"\d+:[XCSM] \d+ \w+ \d+ [\d:.]+ (?P<level>[.\-*#]) (?P<event>.*)")
_REDIS_LEVELS = {".": "debug", "-": "debug", "*": "info", "#": "warning"}
_SLOG = re.compile(
    r'time=\S+ level=(?P<level>\w+) msg=(?P<event>"(?:[^"\\]|\\.)*"|\S+)(?P<rest>.*)'
)
_DATED = re.compile(
    r"\d{4}[-/]\d\d[-/]\d\d[ T][\d:.,]+Z? (?P<level>[A-Z]+) ?:? ?(?P<event>.*)"
)  # rclone's and Home Assistant's
_LEVELS = {
    "trace": "debug",
    "notice": "info",
    "warn": "warning",
    "err": "error",
    "fatal": "critical",
}
KNOWN_LEVELS = ("debug", "info", "warning", "error", "critical")


def wrap(component: str, line: str, now: str) -> Record:
    """Return the record of one line that `component` wrote; `now` is an ISO time in UTC."""
    base: Record = {"component": component, "level": "info", "timestamp": now, **_NULLS}
    given = _object(line)
    if given is None:
        return base | _foreign(line)
    event = given.pop("event", None) or given.pop("msg", None) or given.pop("message", "")
    stamp = given.pop("timestamp", None) or given.pop("time", None) or now
    level = _level(str(given.pop("level", "info")))
    ours = {"component": component, "event": event, "level": level, "timestamp": stamp}
    return base | given | ours


def utc_now() -> str:
    """Return this moment as structlog writes it."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _foreign(line: str) -> Record:
    for pattern in (_REDIS, _SLOG, _DATED):
        found = pattern.fullmatch(line)
        if found:
            level, event = found["level"], found["event"].strip('"')
            rest = found.groupdict().get("rest") or ""
            return {"level": _REDIS_LEVELS.get(level) or _level(level), "event": event + rest}
    failed = line.startswith(("Traceback", "panic:", "fatal:")) or "Error: " in line
    return {"event": line, "level": "error" if failed else "info"}


def _level(word: str) -> str:
    lower = word.lower()
    known = _LEVELS.get(lower, lower)
    return known if known in KNOWN_LEVELS else "info"


def _object(line: str) -> Record | None:
    if not line.startswith("{"):
        return None
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


class Lines:
    """Cuts a stream of bytes into lines of text, however it arrives and however long they are."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[str]:
        """Return the lines that `chunk` completes."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        if len(self._rest) > LINE_MAX_CHARS:
            whole.append(self._rest)
            self._rest = b""
        for line in whole:
            text = line.decode("utf-8", "replace").rstrip()[:LINE_MAX_CHARS]
            if text:
                yield text

    def end(self) -> Iterator[str]:
        """Return what is left when the stream ended."""
        yield from self.feed(b"\n")


@dataclass
class LogFile:
    """The file; when it is full it becomes `.1`, and the oldest of `FILES_KEPT` is deleted."""

    path: Path
    size_max_bytes: int = SIZE_MAX_BYTES
    _file: IO[str] | None = None
    _size: int = 0

    def write(self, record: Record) -> None:
        """Append one record; on a full disk it is lost, because the house must go on."""
        line = json.dumps(record, ensure_ascii=False, default=str) + "\n"
        with suppress(OSError):
            file = self._file or self._open()
            if self._size > self.size_max_bytes:
                file = self._rotate()
            file.write(line)
            file.flush()
            self._size += len(line)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None

    def _open(self) -> IO[str]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self.path.open("a", encoding="utf-8", errors="replace")
        self._size = self.path.stat().st_size
        return self._file

    def _rotate(self) -> IO[str]:
        self.close()
        for number in range(FILES_KEPT - 1, 0, -1):
            older = rotated(self.path, number)
            if older.exists():
                older.replace(rotated(self.path, number + 1))
        self.path.replace(rotated(self.path, 1))
        return self._open()


def rotated(path: Path, number: int) -> Path:
    """Return the name of the `number`th older file."""
    return path.with_name(f"{path.name}.{number}")

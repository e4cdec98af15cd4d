"""The runner's log file: JSON lines of all services, rotated by size, its readers and its writer.

Our services log JSON; lines of other programs are converted, so that every record has one format.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from barnabee.clients.loki_push import LogShipper
    from barnabee.up.deployment import LocalDeployment
    from barnabee.up.run_state import RunState

Record = dict[str, Any]

SIZE_MAX_BYTES = 16 * 1024 * 1024
ROTATED_FILES = 5
LINE_MAX_CHARS = 32_768
_POLL_S = 0.2
_NULLS: Record = dict.fromkeys(("trace_id", "session_id", "user_id", "stage", "latency_ms"))

_REDIS = re.compile(r"\d+:[XCSM] \d+ \w+ \d+ [\d:.]+ (?P<level>[.\-*#]) (?P<event>.*)")
_REDIS_LEVELS = {".": "debug", "-": "debug", "*": "info", "#": "warning"}
_SLOG = re.compile(
    r'time=\S+ level=(?P<level>\w+) msg=(?P<event>"(?:[^"\\]|\\.)*"|\S+)(?P<rest>.*)'
)
_DATED = re.compile(
    r"\d{4}[-/]\d\d[-/]\d\d[ T][\d:.,]+Z? (?P<level>[A-Z]+) ?:? ?(?P<event>.*)"
)  # rclone and Home Assistant
_LEVELS = {
    "trace": "debug",
    "notice": "info",
    "warn": "warning",
    "err": "error",
    "fatal": "critical",
}
KNOWN_LEVELS = ("debug", "info", "warning", "error", "critical")


def make_record(component: str, line: str, now: str) -> Record:
    """Return the record of one line of output of `component`; `now` is an ISO time in UTC."""
    base: Record = {"component": component, "level": "info", "timestamp": now, **_NULLS}
    fields = _parse_json(line)
    if fields is None:
        return base | _parse_text(line)
    event = fields.pop("event", None) or fields.pop("msg", None) or fields.pop("message", "")
    timestamp = fields.pop("timestamp", None) or fields.pop("time", None) or now
    level = _map_level(str(fields.pop("level", "info")))
    fixed = {"component": component, "event": event, "level": level, "timestamp": timestamp}
    return base | fields | fixed


def utc_now() -> str:
    """Return the current time in structlog's format."""
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def _parse_text(line: str) -> Record:
    for pattern in (_REDIS, _SLOG, _DATED):
        match = pattern.fullmatch(line)
        if match:
            level, event = match["level"], match["event"].strip('"')
            rest = match.groupdict().get("rest") or ""
            return {"level": _REDIS_LEVELS.get(level) or _map_level(level), "event": event + rest}
    is_error = line.startswith(("Traceback", "panic:", "fatal:")) or "Error: " in line
    return {"event": line, "level": "error" if is_error else "info"}


def _map_level(name: str) -> str:
    lower = name.lower()
    level = _LEVELS.get(lower, lower)
    return level if level in KNOWN_LEVELS else "info"


def _parse_json(line: str) -> Record | None:
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


class LineSplitter:
    """Splits a stream of bytes into lines of at most `LINE_MAX_CHARS`."""

    def __init__(self) -> None:
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

    def flush(self) -> Iterator[str]:
        """Return the last line, which has no line feed."""
        yield from self.feed(b"\n")


@dataclass
class LogFile:
    """The file; when full it is renamed to `.1`, and the oldest of `ROTATED_FILES` is deleted."""

    path: Path
    size_max_bytes: int = SIZE_MAX_BYTES
    _file: IO[str] | None = None
    _size: int = 0

    def write(self, record: Record) -> None:
        """Append one record; on a full disk it is dropped, so that the runner continues."""
        line = json.dumps(record, ensure_ascii=False, default=str) + "\n"
        with suppress(OSError):
            file = self._file or self._open()
            if self._size > self.size_max_bytes:
                file = self._rotate()
            file.write(line)
            file.flush()
            self._size += len(line)

    def close(self) -> None:
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
        for number in range(ROTATED_FILES - 1, 0, -1):
            rotated = rotated_path(self.path, number)
            if rotated.exists():
                rotated.replace(rotated_path(self.path, number + 1))
        self.path.replace(rotated_path(self.path, 1))
        return self._open()


def rotated_path(path: Path, number: int) -> Path:
    """Return the path of the rotated file `number`; 1 is the newest."""
    return path.with_name(f"{path.name}.{number}")


# ---- reading ------------------------------------------------------------------------------------


def find_trace(path: Path, trace_id: str) -> list[Record]:
    """Return the records with a trace id from the log and its rotated files, oldest first."""
    if not path.exists():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        records = chain(read_rotated(path), read_records(file))
        return [record for record in records if record.get("trace_id") == trace_id]


def tail_records(
    path: Path,
    is_wanted: Callable[[Record], bool],
    limit: int,
    *,
    include_rotated: bool,
    follow: bool,
) -> Iterator[Record]:
    """Yield the last `limit` wanted records; with `follow` also new ones, without end."""
    with path.open(encoding="utf-8", errors="replace") as file:
        past = chain(read_rotated(path) if include_rotated else (), read_records(file))
        yield from deque(filter(is_wanted, past), maxlen=limit)
        if follow:
            yield from filter(is_wanted, _follow(path, file))


def read_records(file: IO[str]) -> Iterator[Record]:
    """Yield the records up to the end of the file, but not an incomplete last line."""
    while True:
        position = file.tell()
        line = file.readline()
        if not line.endswith("\n"):
            file.seek(position)
            return
        try:
            record = json.loads(line)
        except ValueError:
            continue
        if isinstance(record, dict):
            yield {"component": "?", "level": "info", "event": ""} | record


def read_rotated(path: Path) -> Iterator[Record]:
    """Yield the records of the rotated files, oldest first."""
    for number in range(ROTATED_FILES, 0, -1):
        rotated = rotated_path(path, number)
        if rotated.exists():
            with rotated.open(encoding="utf-8", errors="replace") as file:
                yield from read_records(file)


def _follow(path: Path, file: IO[str]) -> Iterator[Record]:
    """Yield new records without end; continues with the new file after a rotation."""
    while True:
        yield from read_records(file)
        if path.exists() and path.stat().st_ino != os.fstat(file.fileno()).st_ino:
            yield from read_records(file)
            with path.open(encoding="utf-8", errors="replace") as newer:
                yield from _follow(path, newer)
        time.sleep(_POLL_S)


# ---- writing the log of a run --------------------------------------------------------------------


class RunView(Protocol):
    """Output of a run, such as a terminal."""

    def show_record(self, record: Record) -> None: ...

    def show_nodes(self, run: RunState) -> None:
        """Show the current state of the nodes."""

    def show_failure(self, name: str, reason: str, last_lines: Sequence[str]) -> None:
        """Show that a node failed, with its last log lines."""

    def show_healthy(self, run: RunState) -> None:
        """Show that all nodes are healthy; called once per run."""


class RunLog:
    """Log of one run. Not thread-safe: used from the runner's event loop."""

    def __init__(self, deployment: LocalDeployment, view: RunView) -> None:
        self._view = view
        self._file = LogFile(deployment.paths.log)
        self._shipper: LogShipper | None = None
        if url := deployment.environment.get("LOKI_URL"):
            from barnabee.clients.loki import parse_base_url  # noqa: PLC0415 - imports httpx
            from barnabee.clients.loki_push import LogShipper  # noqa: PLC0415

            buffer_bytes = deployment.system.logs.loki_buffer_max_mib * 1024 * 1024
            address = parse_base_url(url)
            self._shipper = LogShipper(
                address, socket.gethostname(), buffer_bytes, self._write_from_thread
            )

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        if self._shipper is not None:
            self._shipper.start()

    async def stop(self) -> None:
        if self._shipper is not None:
            await asyncio.to_thread(self._shipper.stop)
        self._file.close()

    def write(self, record: Record) -> None:
        self._file.write(record)
        if self._shipper is not None:
            self._shipper.offer(record)
        self._view.show_record(record)

    def write_event(self, event: str, **fields: object) -> None:
        """Write a record of the runner itself."""
        self.write(make_record("runner", "", utc_now()) | {"event": event} | fields)

    def _write_from_thread(self, event: str, fields: Mapping[str, object]) -> None:
        with suppress(RuntimeError):  # the loop has ended
            self._loop.call_soon_threadsafe(lambda: self.write_event(event, **fields))

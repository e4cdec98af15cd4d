"""Gives log records to Loki from a thread of its own: whoever offers them never waits.

While Loki is away, what was offered is kept compressed, up to a limit in bytes; beyond it the
oldest goes first and is counted. The file or journal in which the records also stand is the log;
this is its copy.
"""

from __future__ import annotations

import gzip
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import httpx
from pydantic_core import to_json

from barnabee.clients.loki import PUSH_PATH
from barnabee.core.logging import dump

Record = dict[str, Any]
Tell = Callable[[str, dict[str, object]], None]

_METADATA = ("trace_id", "session_id", "user_id", "stage")
_GATHER_S = 0.5
_WAITING_MAX = 100_000  # offered and not yet compressed: some seconds of a storm
_BATCH_LINES = 2_000
_TIMEOUT_S = 10.0
_PAUSE_FIRST_S, _PAUSE_MOST_S = 0.5, 15.0
_TRY_LATER = frozenset({408, 429})
_FAREWELL_S = 2.0


@dataclass(frozen=True, slots=True)
class Batch:
    """A request's body and how many lines are in it."""

    body: bytes
    lines: int


@dataclass
class Counts:
    """What became of the lines; each one offered is sent, dropped, or still kept."""

    sent: int = 0
    dropped: int = 0


@dataclass
class Shipper:
    """The way to one Loki; `start` it, `offer` records, `stop` it."""

    url: str
    host: str
    buffer_max_bytes: int
    tell: Tell  # called from the thread
    transport: httpx.BaseTransport | None = None
    counts: Counts = field(default_factory=Counts)
    _waiting: deque[Record] = field(default_factory=deque)
    _kept: deque[Batch] = field(default_factory=deque)
    _kept_bytes: int = 0
    _failures: int = 0
    _told_dropped: int = 0
    _next_try_s: float = 0.0
    _ending: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin."""
        self._thread = threading.Thread(target=self._run, name="loki", daemon=True)
        self._thread.start()

    def offer(self, record: Record) -> None:
        """Take one record, which must not be changed any more; returns at once."""
        if len(self._waiting) >= _WAITING_MAX:
            self.counts.dropped += 1
        else:
            self._waiting.append(record)

    def stop(self) -> None:
        """Send what is left, for two seconds at most."""
        self._ending.set()
        if self._thread is not None:
            self._thread.join(_FAREWELL_S + 0.5)

    def _run(self) -> None:
        with httpx.Client(timeout=_TIMEOUT_S, trust_env=False, transport=self.transport) as client:
            while not self._ending.wait(_GATHER_S):
                self._gather()
                self._send_all(client)
            until_s = time.monotonic() + _FAREWELL_S
            client.timeout = httpx.Timeout(_FAREWELL_S / 2)
            self._gather()
            self._next_try_s = 0.0
            while self._kept and time.monotonic() < until_s and self._send_one(client):
                pass
            self.counts.dropped += sum(batch.lines for batch in self._kept)

    def _gather(self) -> None:
        while self._waiting:
            count = min(len(self._waiting), _BATCH_LINES)
            batch = pack([self._waiting.popleft() for _ in range(count)], self.host)
            self._kept.append(batch)
            self._kept_bytes += len(batch.body)
        while self._kept_bytes > self.buffer_max_bytes and self._kept:
            self.counts.dropped += self._forget_oldest().lines

    def _send_all(self, client: httpx.Client) -> None:
        while self._kept and time.monotonic() >= self._next_try_s and not self._ending.is_set():
            if not self._send_one(client):
                return
            self._gather()  # a long queue must not keep new lines from being compressed

    def _send_one(self, client: httpx.Client) -> bool:
        """Send the oldest batch; False when Loki is away."""
        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip"}
        try:
            answer = client.post(self.url + PUSH_PATH, content=self._kept[0].body, headers=headers)
        except httpx.HTTPError as error:
            self._away(str(error) or type(error).__name__)
            return False
        if answer.is_server_error or answer.status_code in _TRY_LATER:
            self._away(f"status {answer.status_code}")
            return False
        batch = self._forget_oldest()
        if answer.is_success:
            self.counts.sent += batch.lines
        else:  # it will never take this one
            self.counts.dropped += batch.lines
            reason = f"status {answer.status_code}: {answer.text[:200].strip()}"
            self._told_dropped += batch.lines
            self.tell("loki_refused", {"reason": reason, "lines": batch.lines})
        self._back()
        return True

    def _forget_oldest(self) -> Batch:
        batch = self._kept.popleft()
        self._kept_bytes -= len(batch.body)
        return batch

    def _away(self, reason: str) -> None:
        self._failures += 1
        longest_s = min(_PAUSE_MOST_S, _PAUSE_FIRST_S * 2 ** min(self._failures - 1, 10))
        pause_s = random.uniform(longest_s / 2, longest_s)  # noqa: S311 - jitter, no secret
        self._next_try_s = time.monotonic() + pause_s
        if self._failures == 1:
            self.tell("loki_away", {"reason": reason})

    def _back(self) -> None:
        dropped = self.counts.dropped - self._told_dropped
        if self._failures or dropped:
            self._failures, self._told_dropped = 0, self.counts.dropped
            self.tell("loki_back", {"dropped": dropped})


def pack(records: Iterable[Record], host: str) -> Batch:
    """Return the compressed body that gives `records` to Loki. Pure."""
    streams: dict[tuple[str, str], list[list[object]]] = {}
    lines = 0
    for record in records:
        key = (_text(record.get("component") or "?"), _text(record.get("level") or "info"))
        streams.setdefault(key, []).append(list(_value(record)))
        lines += 1
    body = {
        "streams": [
            {"stream": {"component": component, "host": host, "level": level}, "values": values}
            for (component, level), values in streams.items()
        ]
    }
    # level 1: 10 000 lines take 13 ms and become a tenth; level 6 takes 29 ms for an eleventh
    return Batch(gzip.compress(to_json(body, fallback=str), compresslevel=1), lines)


def _value(record: Record) -> Iterator[object]:
    yield str(_nanoseconds(record.get("timestamp")))
    yield dump(record)
    metadata = {key: _text(record[key]) for key in _METADATA if record.get(key)}
    if metadata:
        yield metadata


def _nanoseconds(stamp: object) -> int:
    try:
        moment = datetime.fromisoformat(str(stamp))
        return round(moment.timestamp() * 1_000_000) * 1000
    except ValueError:
        return time.time_ns()


def _text(value: object) -> str:
    """Return text that UTF-8 has, which half a surrogate pair is not."""
    return str(value).encode("utf-8", "replace").decode()

"""Turn recorder: reports each finished turn to the api and stores its utterance where allowed.

Both happen after the turn, so that they never delay a conversation. A report is retried for 42 s
while the api is unavailable, then dropped with a log line. Audio is stored only in the rooms that
`[recording]` of system.toml names; the worker deletes it after `retention.audio_days`.
"""

from __future__ import annotations

import asyncio
import contextvars
import os
import shutil
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from prometheus_client import Counter

from barnabee.audio import wav
from barnabee.clients.api import StageTiming, TurnReport
from barnabee.core import tracing
from barnabee.core.errors import BadInput, Unavailable
from barnabee.store.recordings import PARTIAL_SUFFIX, recording_path
from barnabee.voice.turn import STAGES, Turn

if TYPE_CHECKING:
    from barnabee.core.metrics import Metrics
    from barnabee.core.schema import RecordingConfig

INPUT_RATE_HZ = 16_000
MIB = 1024 * 1024
RETRY_DELAYS_S = (0.0, 2.0, 10.0, 30.0)
SHUTDOWN_TIMEOUT_S = 2.0  # for recordings and reports under way

log = structlog.get_logger()


@dataclass
class TurnRecorder:
    """Reports and records turns; `words` has the text of each recorded phrase by its name."""

    report: Callable[[TurnReport], Awaitable[None]]
    recordings: RecordingWriter
    words: Mapping[str, str]
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _closing: asyncio.Event = field(default_factory=asyncio.Event)

    def record(self, turn: Turn, room: str) -> None:
        """Record a finished turn in the background; one the api never saw has no report."""
        if turn.audio and turn.utterance:
            self._spawn(turn, self._store_audio(turn, room))
        if "command_reply" in turn.marks:
            report = make_turn_report(turn, room, datetime.now(UTC), self.words)
            self._spawn(turn, self._send(report))

    async def aclose(self) -> None:
        """Wait for work under way for up to `SHUTDOWN_TIMEOUT_S`; drop reports awaiting a retry."""
        self._closing.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=SHUTDOWN_TIMEOUT_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _store_audio(self, turn: Turn, room: str) -> None:
        store = self.recordings.store
        await asyncio.to_thread(store, turn.trace_id, room, turn.audio, INPUT_RATE_HZ)

    async def _send(self, report: TurnReport) -> None:
        last_error: Unavailable | None = None
        for delay_s in RETRY_DELAYS_S:
            if await self._is_closing_within(delay_s) and last_error:
                break
            try:
                await self.report(report)
            except BadInput as error:
                log.warning("turn_report_failed", code=error.code, reason=str(error))
                return
            except Unavailable as error:
                last_error = error
            else:
                return
        code = last_error.code if last_error else None
        log.warning("turn_report_failed", code=code, reason=str(last_error))

    async def _is_closing_within(self, delay_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(delay_s):
                await self._closing.wait()
        return self._closing.is_set()

    def _spawn(self, turn: Turn, work: Coroutine[Any, Any, None]) -> None:
        context = contextvars.copy_context()
        context.run(tracing.trace_id_var.set, turn.trace_id)
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def make_turn_report(turn: Turn, room: str, now: datetime, words: Mapping[str, str]) -> TurnReport:
    """Return the report of a finished turn; `now` is wall-clock time. Pure."""
    marks = turn.marks
    speech_end_s = marks.get("speech_end", marks.get("turn_end", turn.clock()))
    said_at = now - timedelta(seconds=turn.clock() - speech_end_s)
    stages = {
        name: StageTiming(round((marks[begin] - speech_end_s) * 1000, 1), round(took_s * 1000, 1))
        for name, took_s in turn.stages_s().items()
        for begin in (STAGES[name][0],)
    }
    return TurnReport(
        trace_id=turn.trace_id,
        room=room,
        said_at=said_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        stages=stages,
        engine=turn.engine or None,
        filler=words.get(str(turn.log_fields.get("filler", ""))),
        interrupted=turn.outcome == "interrupted",
        heard=turn.played_text,
        degraded=tuple(turn.log_fields.get("degraded", ())),
        code=turn.code or None,
    )


@dataclass(frozen=True)
class RecordingMetrics:
    """Metrics of stored utterances."""

    kept: Counter
    failed: Counter

    @classmethod
    def register(cls, metrics: Metrics) -> RecordingMetrics:
        registry = metrics.registry
        return cls(
            Counter(
                "barnabee_recordings_kept",
                "Utterances stored as audio.",
                ("room",),
                registry=registry,
            ),
            Counter(
                "barnabee_recordings_failed",
                "Utterances that could not be stored.",
                ("code",),
                registry=registry,
            ),
        )


class RecordingWriter:
    """Writes utterances as WAV files below `folder` (`store.recordings.FOLDER` of the data)."""

    def __init__(
        self,
        folder: Path,
        rules: RecordingConfig,
        metrics: RecordingMetrics,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        free_bytes: Callable[[Path], int] = lambda path: shutil.disk_usage(path).free,
    ) -> None:
        self._folder = folder
        self._rules = rules
        self._metrics = metrics
        self._clock = clock
        self._free_bytes = free_bytes

    def is_enabled(self, room: str) -> bool:
        """Return whether utterances of `room` are recorded; check before collecting audio."""
        return self._rules.enabled and room in self._rules.rooms

    def store(self, trace_id: str, room: str, pcm: bytes, rate_hz: int) -> Path | None:
        """Store an utterance (16-bit mono PCM); return its path, or None when it is not stored.

        Blocks on the disk. Failures are counted and logged, never raised.
        """
        if not self.is_enabled(room) or not pcm:
            return None
        try:
            path = recording_path(
                self._folder, self._clock().astimezone(UTC).date(), room, trace_id
            )
            path.parent.mkdir(mode=0o770, parents=True, exist_ok=True)
            if self._free_bytes(self._folder) < self._rules.free_min_mib * MIB:
                self._count_failure(
                    "disk_full", f"less than {self._rules.free_min_mib} MiB are free"
                )
                return None
            if rate_hz <= 0:
                msg = f"a sample rate of {rate_hz} Hz is not possible"
                raise ValueError(msg)  # noqa: TRY301 - handled like an invalid trace id
            _write_private(path, wav.encode(pcm, rate_hz))
        except (OSError, ValueError) as error:
            self._count_failure("recording", str(error))
            return None
        self._metrics.kept.labels(room).inc()
        return path

    def _count_failure(self, code: str, reason: str) -> None:
        self._metrics.failed.labels(code).inc()
        log.warning("recording_failed", code=code, reason=reason)


def _write_private(path: Path, content: bytes) -> None:
    """Write a file atomically, readable by its owner only.

    Not `write_atomically`: `store.recordings` deletes partial files by `PARTIAL_SUFFIX`, and links
    are not followed.
    """
    scratch = path.with_name(path.name + PARTIAL_SUFFIX)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        with os.fdopen(os.open(scratch, flags, 0o600), "wb") as file:
            file.write(content)
        scratch.replace(path)
    except OSError:
        with suppress(OSError):
            scratch.unlink()
        raise

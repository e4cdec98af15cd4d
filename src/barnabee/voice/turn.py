"""Turn of a conversation: its trace id, timing marks and tasks. Independent of Pipecat.

Every task of a turn runs in the turn's context, so that each request and log line carries the trace
id and the inference service can attribute requests to the turn.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any, Literal

import structlog

from barnabee.core import tracing
from barnabee.voice.metrics import VoiceMetrics

TurnOutcome = Literal["answered", "interrupted", "failed", "nothing", "given_up"]
TurnMark = Literal[
    "wake_word_end",  # in the audio
    "wake_detected",
    "speech_start",
    "speech_end",  # in the audio
    "turn_end",  # the endpoint was decided
    "transcript",
    "command_reply",
    "first_audio",  # of anything but the chime
    "reply_audio",
]
# stage: its first and its last mark
STAGES: dict[str, tuple[TurnMark, TurnMark]] = {
    "wake": ("wake_word_end", "wake_detected"),
    "vad": ("speech_end", "turn_end"),
    "stt": ("turn_end", "transcript"),
    "command": ("transcript", "command_reply"),
    "tts_first_byte": ("command_reply", "reply_audio"),
    "first_audio": ("speech_end", "reply_audio"),
}
ContextFactory = Callable[[], AbstractAsyncContextManager[None]]

log = structlog.get_logger()


@dataclass(eq=False)
class Turn:
    """Turn of one room's conversation."""

    number: int
    trace_id: str
    session: str
    clock: Callable[[], float] = time.monotonic
    marks: dict[TurnMark, float] = field(default_factory=dict)
    utterance: str = ""
    audio: bytes = b""  # of the utterance, where the room is recorded
    engine: str = ""  # that transcribed it
    reply: str = ""
    played_text: str | None = None  # of the reply, after a barge-in
    log_fields: dict[str, Any] = field(default_factory=dict)  # for the log line; nothing private
    outcome: TurnOutcome = "nothing"
    code: str = ""
    is_over: bool = False
    _context: contextvars.Context = field(default_factory=contextvars.copy_context)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _context_task: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        self._context.run(tracing.trace_id_var.set, self.trace_id)
        self._span = self._context.run(tracing.start_root_span, "turn")

    def mark(self, name: TurnMark, at_s: float | None = None) -> None:
        """Set a mark to now or to `at_s`; a mark that is set already stays."""
        self.marks.setdefault(name, self.clock() if at_s is None else at_s)

    def resume(self) -> None:
        """Discard the end of speech and what followed it: the user resumed the utterance."""
        for name in ("speech_end", "turn_end", "transcript", "first_audio"):
            self.marks.pop(name, None)
        self.log_fields = {"resumed": self.log_fields.get("resumed", 0) + 1}

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start a task that is cancelled when the turn ends."""
        task = asyncio.get_running_loop().create_task(work, context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.is_over:
            task.cancel()
        return task

    def enter_context(self, context: ContextFactory) -> None:
        """Enter `context` for the tasks spawned from then on; it is left when the turn ends."""

        async def hold() -> None:
            async with context():
                await self._ended.wait()

        self._context_task = asyncio.get_running_loop().create_task(hold(), context=self._context)

    def stages_s(self) -> dict[str, float]:
        """Return the durations of the completed stages."""
        pairs = ((name, self.marks.get(a), self.marks.get(b)) for name, (a, b) in STAGES.items())
        return {
            name: max(0.0, end - begin)
            for name, begin, end in pairs
            if begin is not None and end is not None
        }

    def _first_sound_s(self) -> dict[str, float]:
        """Return the time from the end of speech to the first audio, and to that of the reply."""
        speech_end_s = self.marks.get("speech_end")
        sounds: tuple[tuple[str, TurnMark], ...] = (
            ("anything", "first_audio"),
            ("reply", "reply_audio"),
        )
        if speech_end_s is None:
            return {}
        return {
            of: max(0.0, self.marks[mark] - speech_end_s)
            for of, mark in sounds
            if mark in self.marks
        }

    def end(self) -> None:
        """Cancel the tasks of the turn."""
        self.is_over = True
        for task in list(self._tasks):
            task.cancel()
        self._ended.set()

    async def wait_finished(self) -> None:
        """Wait until the cancelled tasks have finished."""
        tasks = [*self._tasks, *([self._context_task] if self._context_task else [])]
        await asyncio.gather(*tasks, return_exceptions=True)

    def report(self, metrics: VoiceMetrics, room: str) -> None:
        """Update the metrics and write the log line; a turn without speech has neither."""
        if "turn_end" not in self.marks:
            return
        stages = self.stages_s()
        for name, seconds in stages.items():
            metrics.stages.labels(name).observe(seconds)
        metrics.turns.labels(self.outcome, self.code).inc()
        first_s = self._first_sound_s()
        for of, seconds in first_s.items():
            metrics.first_sound.labels(of).observe(seconds)
        log.info(
            "turn",
            trace_id=self.trace_id,
            session_id=self.session,
            stage="voice",
            room=room,
            outcome=self.outcome,
            code=self.code or None,
            stages_ms={name: round(seconds * 1000, 1) for name, seconds in stages.items()},
            latency_ms=round(first_s.get("reply", 0.0) * 1000, 1),
            first_sound_ms=round(first_s.get("anything", 0.0) * 1000, 1),
            **self.log_fields,
        )
        if self._span is not None:
            fields = {"room": room, "outcome": self.outcome, "code": self.code}
            tracing.describe_span(self._span, fields)
            self._context.run(self._record_stages)
            self._span.end()

    def _record_stages(self) -> None:
        begin_ns = time.time_ns() - int(self.clock() * 1e9)
        for name, took_s in self.stages_s().items():
            begun_ns = begin_ns + int(self.marks[STAGES[name][0]] * 1e9)
            tracing.record_span(name, begun_ns, took_s * 1000, {"barnabee.stage": name})

"""One turn: its trace id, when each stage was done, and the tasks that work for it.

Every task of a turn runs in the turn's own context, so that each call and each log line carries the
trace id, and requests to the inference service belong to the turn there. Knows no Pipecat.
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

from barnabee.core import trace_context
from barnabee.core.tracing import SPANS
from barnabee.voice.metrics import VoiceMetrics

Outcome = Literal["answered", "interrupted", "failed", "nothing", "given_up"]
Mark = Literal[
    "called", "woken", "spoke", "silent", "ended", "heard", "answered", "voiced", "sounded"
]
# stage: from which mark to which
STAGES: dict[str, tuple[Mark, Mark]] = {
    "wake": ("called", "woken"),
    "vad": ("silent", "ended"),
    "stt": ("ended", "heard"),
    "command": ("heard", "answered"),
    "tts_first_byte": ("answered", "voiced"),
    "first_audio": ("silent", "voiced"),
}
Keep = Callable[[], AbstractAsyncContextManager[None]]

log = structlog.get_logger()


@dataclass(eq=False)
class Turn:
    """One turn of one room's conversation."""

    number: int
    trace_id: str
    session: str
    clock: Callable[[], float] = time.monotonic
    marks: dict[Mark, float] = field(default_factory=dict)
    utterance: str = ""
    sound: bytes = b""  # of the utterance, where the house keeps it
    engine: str = ""  # that heard it
    reply: str = ""
    heard_up_to: str | None = None  # of the reply, when somebody talked into it
    told: dict[str, Any] = field(default_factory=dict)  # more for the log line; nothing private
    outcome: Outcome = "nothing"
    code: str = ""
    over: bool = False
    _context: contextvars.Context = field(default_factory=contextvars.copy_context)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    _ended: asyncio.Event = field(default_factory=asyncio.Event)
    _keeper: asyncio.Task[None] | None = None

    def __post_init__(self) -> None:
        """Put the trace id where everything that works for this turn finds it."""
        self._context.run(trace_context.trace_id_var.set, self.trace_id)
        if SPANS.sink is not None:
            self._context.run(SPANS.enter, None)

    def mark(self, name: Mark, at_s: float | None = None) -> None:
        """Record that something was done now, or at `at_s`; the first time counts."""
        self.marks.setdefault(name, self.clock() if at_s is None else at_s)

    def recall(self) -> None:
        """Forget the end of speech and what came of it: the person goes on."""
        for name in ("silent", "ended", "heard", "sounded"):
            self.marks.pop(name, None)
        self.told = {"recalled": self.told.get("recalled", 0) + 1}

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run `work` for this turn; it ends with the turn."""
        task = asyncio.get_running_loop().create_task(work, context=self._context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self.over:
            task.cancel()
        return task

    def keep(self, context: Keep) -> None:
        """Stay inside `context`, with all that is spawned after it was entered, until the end."""

        async def stay() -> None:
            async with context():
                await self._ended.wait()

        self._keeper = asyncio.get_running_loop().create_task(stay(), context=self._context)

    def stages_s(self) -> dict[str, float]:
        """Return how long the stages that came to an end took."""
        pairs = ((name, self.marks.get(a), self.marks.get(b)) for name, (a, b) in STAGES.items())
        return {
            name: max(0.0, end - begin)
            for name, begin, end in pairs
            if begin is not None and end is not None
        }

    def _first_sound_s(self) -> dict[str, float]:
        """Return how long after the end of speech anything was heard, and the reply."""
        silent_s = self.marks.get("silent")
        sounds: tuple[tuple[str, Mark], ...] = (("anything", "sounded"), ("reply", "voiced"))
        if silent_s is None:
            return {}
        return {
            of: max(0.0, self.marks[mark] - silent_s) for of, mark in sounds if mark in self.marks
        }

    def end(self) -> None:
        """Stop everything that works for this turn."""
        self.over = True
        for task in list(self._tasks):
            task.cancel()
        self._ended.set()

    async def gone(self) -> None:
        """Wait until nothing works for this turn any more."""
        left = [*self._tasks, *([self._keeper] if self._keeper else [])]
        await asyncio.gather(*left, return_exceptions=True)

    def report(self, metrics: VoiceMetrics, room: str) -> None:
        """Count the turn and write its line; one in which nobody said anything is none."""
        if "ended" not in self.marks:
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
            **self.told,
        )
        if SPANS.sink is not None:
            self._context.run(self._trace, room)

    def _trace(self, room: str) -> None:
        """Export the turn and its stages as spans."""
        now_s, now_ns = self.clock(), time.time_ns()
        begin_s = min(self.marks.values())

        def at_ns(moment_s: float) -> int:
            return now_ns - int((now_s - moment_s) * 1e9)

        told = {"room": room, "outcome": self.outcome, "code": self.code}
        SPANS.record("turn", at_ns(begin_s), (now_s - begin_s) * 1000, told, own=True)
        for name, took_s in self.stages_s().items():
            begun_ns = at_ns(self.marks[STAGES[name][0]])
            SPANS.record(name, begun_ns, took_s * 1000, {"stage": name})

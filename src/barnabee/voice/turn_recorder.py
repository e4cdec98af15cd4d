"""What is kept of a turn beside its line in the log: how it went, in the api's record; its sound.

Both happen when the turn is over, so neither is ever in the way of a conversation. A report that
the api cannot take now is told again for a while; what is given up then is in the log.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from barnabee.clients.turn_report import Spoken, Stage
from barnabee.core import trace_context
from barnabee.core.errors import BadInput, Unavailable
from barnabee.voice.recording import Recordings
from barnabee.voice.turn import STAGES, Turn

HEARD_RATE_HZ = 16_000
TRY_AFTER_S = (0.0, 2.0, 10.0, 30.0)
LEAVE_S = 2.0  # the end of the service waits so long for what is being kept

log = structlog.get_logger()


@dataclass
class Keeping:
    """Keeps turns; `words` are those of each recorded phrase by its name."""

    report: Callable[[Spoken], Awaitable[None]]
    recordings: Recordings
    words: Mapping[str, str]
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _ending: asyncio.Event = field(default_factory=asyncio.Event)

    def over(self, turn: Turn, room: str) -> None:
        """Keep a turn that is over; one that never reached the api is not in its record."""
        if turn.sound and turn.utterance:
            self._spawn(turn, self._keep_sound(turn, room))
        if "answered" in turn.marks:
            said = spoken(turn, room, datetime.now(UTC), self.words)
            self._spawn(turn, self._tell(said))

    async def aclose(self) -> None:
        """Wait a moment for what is being kept; what waits for another try is given up."""
        self._ending.set()
        if self._tasks:
            _, late = await asyncio.wait(self._tasks, timeout=LEAVE_S)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _keep_sound(self, turn: Turn, room: str) -> None:
        keep = self.recordings.keep
        await asyncio.to_thread(keep, turn.trace_id, room, turn.sound, HEARD_RATE_HZ)

    async def _tell(self, said: Spoken) -> None:
        why: Unavailable | None = None
        for pause_s in TRY_AFTER_S:
            if await self._ends_within(pause_s) and why:
                break
            try:
                await self.report(said)
            except BadInput as error:
                log.warning("turn_not_told", code=error.code, reason=str(error))
                return
            except Unavailable as error:
                why = error
            else:
                return
        log.warning("turn_not_told", code=why.code if why else None, reason=str(why))

    async def _ends_within(self, pause_s: float) -> bool:
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._ending.wait()
        return self._ending.is_set()

    def _spawn(self, turn: Turn, work: Coroutine[Any, Any, None]) -> None:
        context = contextvars.copy_context()
        context.run(trace_context.trace_id_var.set, turn.trace_id)
        task = asyncio.get_running_loop().create_task(work, context=context)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def spoken(turn: Turn, room: str, now: datetime, words: Mapping[str, str]) -> Spoken:
    """Return what the record is told of a turn that is over; `now` is the wall clock's. Pure."""
    marks = turn.marks
    silent_s = marks.get("silent", marks.get("ended", turn.clock()))
    said_at = now - timedelta(seconds=turn.clock() - silent_s)
    stages = {
        name: Stage(round((marks[begin] - silent_s) * 1000, 1), round(took_s * 1000, 1))
        for name, took_s in turn.stages_s().items()
        for begin in (STAGES[name][0],)
    }
    return Spoken(
        trace_id=turn.trace_id,
        room=room,
        said_at=said_at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        stages=stages,
        engine=turn.engine or None,
        filler=words.get(str(turn.told.get("filler", ""))),
        interrupted=turn.outcome == "interrupted",
        heard=turn.heard_up_to,
        degraded=tuple(turn.told.get("degraded", ())),
        code=turn.code or None,
    )

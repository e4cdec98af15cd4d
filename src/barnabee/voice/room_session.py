"""The shell around `conversation`: one room's clock, its turns, and whoever carries out effects.

Stages tell it what happened and say what they do on which effect; it decides nothing itself. All of
it happens in one event loop and in one step each, so that no stage ever sees half a change.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from barnabee.core import trace_context
from barnabee.core.errors import BarnabeeError
from barnabee.core.schema import Talk
from barnabee.voice import conversation
from barnabee.voice.conversation import Effect, Event, State
from barnabee.voice.metrics import VoiceMetrics
from barnabee.voice.turn import Outcome, Turn

MESSAGES_MOST = 256  # to a client that does not read; its transport is cut off long before

log = structlog.get_logger()


class Room:
    """One room that is connected."""

    def __init__(self, name: str, session: str, talk: Talk, metrics: VoiceMetrics) -> None:
        """Begin asleep."""
        self.name, self.session, self.talk, self.metrics = name, session, talk, metrics
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MESSAGES_MOST)
        self.turn: Turn | None = None  # the one that runs
        self.show: Callable[[str], None] = lambda _state: None  # told of every state
        self.since_ms: int | None = None  # while a turn begins: how far back its sound does
        self._stands = conversation.Room()
        self._hands: dict[Effect, list[Callable[[], None]]] = defaultdict(list)
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._trace_id = ""  # of the turn that begins next
        self._ending: set[asyncio.Task[None]] = set()
        self._closed = False
        self._over: list[Callable[[Turn], None]] = []
        self.on(Effect.BEGIN, self._begin)
        self.on(Effect.END, self._end)
        self.on(Effect.RECALL, self._recall)
        self.on(Effect.BARGED_IN, self._barged_in)

    @property
    def state(self) -> State:
        """Return what the room is doing."""
        return self._stands.state

    @property
    def held(self) -> bool:
        """Return whether somebody holds the button."""
        return self._stands.held

    @property
    def recallable(self) -> bool:
        """Return whether somebody who speaks now goes on with what was taken as all."""
        return self._stands.recallable

    def on(self, effect: Effect, hand: Callable[[], None]) -> None:
        """Call `hand` on `effect`; hands are called in the order in which they came."""
        self._hands[effect].append(hand)

    def when_over(self, hand: Callable[[Turn], None]) -> None:
        """Call `hand` with every turn that is over."""
        self._over.append(hand)

    def tell(self, event: Event, turn: Turn | None = None) -> None:
        """Take note of what happened, in `turn` if it is an event of a turn."""
        if self._closed:
            return
        before = self._stands
        number = turn.number if turn else None
        now_s = self._loop.time()
        self._stands, effects = conversation.step(before, event, now_s, self.talk, number)
        for effect in effects:
            for hand in self._hands[effect]:
                hand()
        if self._stands.deadline_s != before.deadline_s:
            self._wind()
        if self._stands.state != before.state:
            self.say("state", state=self._stands.state.value, turn=self._stands.turn)
            self.show(self._stands.state.value)

    def wake(self, word: str, trace_id: str, ago_ms: int) -> None:
        """Begin a turn that a word began, so long ago in the sound."""
        if self.state is State.HEARING:
            return
        self.say("wake", word=word, trace_id=trace_id)
        self._trace_id, self.since_ms = trace_id, ago_ms
        self.tell(Event.WOKEN)
        self._trace_id, self.since_ms = "", None

    def press(self, *, on: bool) -> None:
        """Take note of the button; what was said just before it was pressed counts."""
        self.since_ms = self.talk.before_ms
        self.tell(Event.TALK_ON if on else Event.TALK_OFF)
        self.since_ms = None

    def say(self, kind: str, **fields: Any) -> None:
        """Send the client a message; one that does not read misses some."""
        if not self.messages.full():
            self.messages.put_nowait({"type": kind, **fields})

    def fail(self, error: BarnabeeError, turn: Turn) -> None:
        """Say what went wrong in a turn: to the client, in the log, in the metrics."""
        turn.outcome, turn.code = "failed", error.code
        self.metrics.error(error.code)
        self.say("error", **error.body(turn.trace_id))
        log.warning("turn_failed", code=error.code, reason=str(error), trace_id=turn.trace_id)

    def outcome(self, turn: Turn, outcome: Outcome) -> None:
        """Say how a turn went, unless it failed."""
        if turn.outcome != "failed":
            turn.outcome = outcome

    async def close(self) -> None:
        """End what runs; nothing told from now on is listened to."""
        self._stands = replace(self._stands, state=State.ASLEEP, deadline_s=None)
        self._wind()
        self._closed = True
        self._end()
        if self._ending:
            await asyncio.wait(self._ending)

    def _begin(self) -> None:
        trace_id = self._trace_id or trace_context.new_trace_id()
        self.turn = Turn(self._stands.turn, trace_id, self.session)
        if self._trace_id and self.since_ms is not None:  # by a word, so long ago in the sound
            self.turn.mark("called", self.turn.clock() - self.since_ms / 1000)
            self.turn.mark("woken")

    def _end(self) -> None:
        turn, self.turn = self.turn, None
        if turn is None:
            return
        if turn.outcome == "nothing" and turn.utterance:  # somebody called, or left, meanwhile
            turn.outcome = "interrupted" if "voiced" in turn.marks else "given_up"
        turn.end()
        turn.report(self.metrics, self.name)
        for hand in self._over:
            hand(turn)
        task = self._loop.create_task(turn.gone())
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def _recall(self) -> None:
        if self.turn is not None:
            self.turn.recall()

    def _barged_in(self) -> None:
        self.metrics.barge_ins.inc()
        if self.turn is not None:
            self.outcome(self.turn, "interrupted")

    def _wind(self) -> None:
        if self._timer:
            self._timer.cancel()
        deadline_s = self._stands.deadline_s
        self._timer = self._loop.call_at(deadline_s, self._passed) if deadline_s else None

    def _passed(self) -> None:
        self.tell(Event.PASSED)

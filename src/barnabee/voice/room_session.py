"""Session of one connected room: the shell around the state machine in `conversation`.

Stages dispatch events to it and subscribe to effects. Each event is handled in one step of the
event loop, so that no stage sees a partial change.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import structlog

from barnabee.core import tracing
from barnabee.core.errors import BarnabeeError
from barnabee.core.schema import TalkConfig
from barnabee.voice import conversation
from barnabee.voice.announcements import UnpromptedSpeech
from barnabee.voice.metrics import VoiceMetrics
from barnabee.voice.room_events import ConversationState, Effect, RoomEvent
from barnabee.voice.turn import Turn, TurnOutcome

MAX_QUEUED_MESSAGES = 256  # for a client that does not read

log = structlog.get_logger()


class RoomSession:
    """Connected room: its state, running turn, deadline timer and outgoing messages."""

    def __init__(self, name: str, session: str, talk: TalkConfig, metrics: VoiceMetrics) -> None:
        self.name, self.session, self.talk, self.metrics = name, session, talk, metrics
        self.messages: asyncio.Queue[dict[str, Any]] = asyncio.Queue(MAX_QUEUED_MESSAGES)
        self.turn: Turn | None = None  # the running one
        self.on_state_change: Callable[[str], None] = lambda _state: None
        self.on_reaction: Callable[[], None] = lambda: None  # the button, or "stop" of the client
        self.unprompted: UnpromptedSpeech | None = None  # what is spoken on SPEAK_UNPROMPTED
        # While BEGIN_TURN is handled: how far back in the audio the turn starts.
        self.pre_roll_ms: int | None = None
        self._state = conversation.RoomState()
        self._effect_handlers: dict[Effect, list[Callable[[], None]]] = defaultdict(list)
        self._timer: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        self._trace_id = ""  # of the next turn
        self._finishing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._turn_handlers: list[Callable[[Turn], None]] = []
        self.on(Effect.BEGIN_TURN, self._begin_turn)
        self.on(Effect.END_TURN, self._end_turn)
        self.on(Effect.RESUME_UTTERANCE, self._resume_turn)
        self.on(Effect.REPORT_BARGE_IN, self._count_barge_in)

    @property
    def state(self) -> ConversationState:
        return self._state.state

    @property
    def is_ringing(self) -> bool:
        """Whether a ring is being spoken; not between two of them."""
        is_speaking = self._state.state is ConversationState.SPEAKING
        return is_speaking and self._state.unprompted is RoomEvent.RING_DUE

    @property
    def is_button_held(self) -> bool:
        return self._state.is_button_held

    @property
    def can_resume(self) -> bool:
        """Whether further speech continues the utterance that was taken as complete."""
        return self._state.can_resume

    @property
    def can_barge_in(self) -> bool:
        """Whether speech ends the running turn and begins the next one."""
        return self._state.state is ConversationState.SPEAKING or self._state.can_barge_in

    def on(self, effect: Effect, handler: Callable[[], None]) -> None:
        """Call `handler` on `effect`; handlers are called in the order of their registration."""
        self._effect_handlers[effect].append(handler)

    def on_turn_end(self, handler: Callable[[Turn], None]) -> None:
        """Call `handler` with every turn that has ended."""
        self._turn_handlers.append(handler)

    def dispatch(self, event: RoomEvent, turn: Turn | None = None) -> None:
        """Handle an event; one of `TURN_EVENTS` needs its `turn`."""
        if self._closed:
            return
        if event in {RoomEvent.BUTTON_PRESSED, RoomEvent.STOP}:
            self.on_reaction()
        before = self._state
        number = turn.number if turn else None
        now_s = self._loop.time()
        self._state, effects = conversation.handle_event(before, event, now_s, self.talk, number)
        for effect in effects:
            for handler in self._effect_handlers[effect]:
                handler()
        if self._state.deadline_s != before.deadline_s:
            self._set_timer()
        if self._state.state != before.state:
            self.send_message("state", state=self._state.state.value, turn=self._state.turn_number)
            self.on_state_change(self._state.state.value)

    def start_from_wake_word(self, word: str, trace_id: str, ago_ms: int) -> None:
        """Start a turn; the wake word ended `ago_ms` before the newest audio."""
        if self.state is ConversationState.USER_SPEAKING:
            return
        self.send_message("wake", word=word, trace_id=trace_id)
        self._trace_id, self.pre_roll_ms = trace_id, ago_ms
        self.dispatch(RoomEvent.WAKE_WORD_DETECTED)
        self._trace_id, self.pre_roll_ms = "", None

    def speak(self, speech: UnpromptedSpeech) -> bool:
        """Speak without having been asked; False while there is a conversation."""
        before, waiting = self._state.turn_number, self.unprompted
        self.unprompted = speech
        self.dispatch(speech.event)
        if self._state.turn_number > before:
            return True
        self.unprompted = waiting
        return False

    def set_button(self, *, on: bool) -> None:
        """Press or release the button; a turn includes the audio just before the press."""
        self.pre_roll_ms = self.talk.before_ms
        self.dispatch(RoomEvent.BUTTON_PRESSED if on else RoomEvent.BUTTON_RELEASED)
        self.pre_roll_ms = None

    def send_message(self, kind: str, **fields: Any) -> None:
        """Queue a message for the client; it is dropped when the queue is full."""
        if not self.messages.full():
            self.messages.put_nowait({"type": kind, **fields})

    def report_failure(self, error: BarnabeeError, turn: Turn) -> None:
        """Mark the turn as failed, and report the error to client, log and metrics."""
        turn.outcome, turn.code = "failed", error.code
        self.metrics.count_error(error.code)
        self.send_message("error", **error.body(turn.trace_id))
        log.warning("turn_failed", code=error.code, reason=str(error), trace_id=turn.trace_id)

    def set_outcome(self, turn: Turn, outcome: TurnOutcome) -> None:
        """Set the outcome of a turn that has not failed."""
        if turn.outcome != "failed":
            turn.outcome = outcome

    async def close(self) -> None:
        """End the running turn; later events are ignored."""
        self._state = replace(self._state, state=ConversationState.ASLEEP, deadline_s=None)
        self._set_timer()
        self._closed = True
        self._end_turn()
        if self._finishing:
            await asyncio.wait(self._finishing)

    def _begin_turn(self) -> None:
        trace_id = self._trace_id or tracing.new_trace_id()
        self.turn = Turn(self._state.turn_number, trace_id, self.session)
        if self._trace_id and self.pre_roll_ms is not None:  # by a wake word
            self.turn.mark("wake_word_end", self.turn.clock() - self.pre_roll_ms / 1000)
            self.turn.mark("wake_detected")

    def _end_turn(self) -> None:
        turn, self.turn = self.turn, None
        if turn is None:
            return
        if turn.outcome == "nothing" and turn.utterance:  # ended early
            turn.outcome = "interrupted" if "reply_audio" in turn.marks else "given_up"
        turn.end()
        turn.report(self.metrics, self.name)
        for handler in self._turn_handlers:
            handler(turn)
        task = self._loop.create_task(turn.wait_finished())
        self._finishing.add(task)
        task.add_done_callback(self._finishing.discard)

    def _resume_turn(self) -> None:
        if self.turn is not None:
            self.turn.resume()

    def _count_barge_in(self) -> None:
        self.metrics.barge_ins.inc()
        if self.turn is not None:
            self.set_outcome(self.turn, "interrupted")

    def _set_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
        deadline_s = self._state.deadline_s
        self._timer = self._loop.call_at(deadline_s, self._on_deadline) if deadline_s else None

    def _on_deadline(self) -> None:
        self.dispatch(RoomEvent.DEADLINE_PASSED)

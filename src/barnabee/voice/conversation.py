"""Conversation state machine of one room: state and event in, new state and effects out. Pure.

asleep ── wake word, button ──> listening ── speech ──> hearing ── end of turn ──> thinking
  ^                              ^  no speech: asleep           no transcript: listening │
  │                              │     ^── speech: resumes the utterance, or barges in ──┤
  │                              │                                                       v
  └──── no speech ──────── follow-up <── reply finished ──────────────────────────── speaking
                                 └── speech ──> hearing <── speech (barge-in) ───────────┘

The button works in every state and ends the running turn. Every state but asleep has a deadline.
One turn runs at a time: events that carry the number of an earlier turn are ignored. An
announcement or a ring starts while asleep, in a turn of its own that begins with speaking; after a
ring the microphone is open as after a reply, so that "stop" needs no wake word.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from barnabee.voice.room_events import TURN_EVENTS, ConversationState, Effect, RoomEvent

FORCED_ENDPOINT_TIMEOUT_S = 2.0  # from FORCE_ENDPOINT to TURN_ENDED or TOO_SHORT


class Timeouts(Protocol):
    """Timeouts in s: `[talk]` of system.toml."""

    @property
    def listen_s(self) -> int: ...  # from the wake word to the start of speech
    @property
    def follow_up_s(self) -> int: ...  # from the end of a reply to speech without a wake word
    @property
    def utterance_max_s(self) -> int: ...
    @property
    def think_s(self) -> int: ...  # from the end of the utterance to the first audio of the reply
    @property
    def reply_max_s(self) -> int: ...


@dataclass(frozen=True, slots=True)
class RoomState:
    """State of one room; times are readings of the caller's clock, in s."""

    state: ConversationState = ConversationState.ASLEEP
    turn_number: int = 0  # of the running turn, or of the last one
    is_wake_unconfirmed: bool = False  # woken by a wake word, and nothing was transcribed since
    is_button_held: bool = False
    is_endpoint_forced: bool = False
    listen_until_s: float = 0.0
    deadline_s: float | None = None
    resume_until_s: float = 0.0  # while thinking: until then the user may resume the utterance
    can_barge_in: bool = False  # while thinking: the utterance is transcribed, speech is a new one
    unprompted: RoomEvent | None = None  # the event that started the speech or the open microphone

    @property
    def can_resume(self) -> bool:
        """Whether further speech continues the utterance; not once it is transcribed."""
        return self.state is ConversationState.THINKING and bool(self.resume_until_s)


Transition = tuple[RoomState, tuple[Effect, ...]]
_OPEN_MICROPHONE = frozenset({ConversationState.LISTENING, ConversationState.USER_SPEAKING})
_NEW_TURN = (Effect.STOP_PLAYBACK, Effect.END_TURN, Effect.BEGIN_TURN)
_RINGING = frozenset({ConversationState.SPEAKING, ConversationState.FOLLOW_UP})


def handle_event(
    room: RoomState, event: RoomEvent, now_s: float, limits: Timeouts, turn: int | None = None
) -> Transition:
    """Return the new state and its effects; `turn` is the number that goes with `TURN_EVENTS`."""
    if event in TURN_EVENTS and turn != room.turn_number:
        return room, ()
    if event is RoomEvent.STOP or (event is RoomEvent.RING_ENDED and _is_ringing(room)):
        return _fall_asleep(room, Effect.STOP_PLAYBACK)
    if event is RoomEvent.FALSE_WAKE_REPORTED:
        return _end_false_wake(room)
    if event is RoomEvent.BUTTON_PRESSED or (
        event is RoomEvent.WAKE_WORD_DETECTED and room.state is not ConversationState.USER_SPEAKING
    ):
        return _open_turn(room, event, now_s, limits)
    if event is RoomEvent.BUTTON_RELEASED:
        return _release_button(room, now_s)
    return _HANDLERS[room.state](room, event, now_s, limits)


def _open_turn(room: RoomState, event: RoomEvent, now_s: float, limits: Timeouts) -> Transition:
    held = event is RoomEvent.BUTTON_PRESSED
    if held and room.state in _OPEN_MICROPHONE:  # the button takes over the running turn
        held_open = replace(room, is_button_held=True, is_endpoint_forced=False)
        return replace(held_open, deadline_s=now_s + limits.utterance_max_s), ()
    until_s = now_s + (limits.utterance_max_s if held else limits.listen_s)
    number = room.turn_number + 1
    listening = RoomState(
        ConversationState.LISTENING, number, not held, held, False, until_s, until_s
    )
    is_asleep = room.state is ConversationState.ASLEEP
    before = () if is_asleep else (Effect.STOP_PLAYBACK, Effect.END_TURN)
    return listening, (*before, Effect.BEGIN_TURN, *(() if held else (Effect.PLAY_CHIME,)))


def _is_ringing(room: RoomState) -> bool:
    return room.unprompted is RoomEvent.RING_DUE and room.state in _RINGING


def _while_asleep(room: RoomState, event: RoomEvent, now_s: float, limits: Timeouts) -> Transition:
    if event not in {RoomEvent.ANNOUNCEMENT_DUE, RoomEvent.RING_DUE}:
        return room, ()
    speaking = RoomState(
        ConversationState.SPEAKING,
        room.turn_number + 1,
        deadline_s=now_s + limits.reply_max_s,
        unprompted=event,
    )
    return speaking, (Effect.BEGIN_TURN, Effect.SPEAK_UNPROMPTED)


def _in_follow_up(room: RoomState, event: RoomEvent, now_s: float, limits: Timeouts) -> Transition:
    if event is RoomEvent.RING_DUE and _is_ringing(room):  # the next ring need not wait
        speaking, effects = _while_asleep(room, event, now_s, limits)
        return speaking, (Effect.END_TURN, *effects)
    return _in_listening(room, event, now_s, limits)


def _release_button(room: RoomState, now_s: float) -> Transition:
    if not room.is_button_held:
        return room, ()
    released = replace(room, is_button_held=False)
    return _force_endpoint(released, now_s) if room.state in _OPEN_MICROPHONE else (released, ())


def _force_endpoint(room: RoomState, now_s: float) -> Transition:
    deadline_s = now_s + FORCED_ENDPOINT_TIMEOUT_S
    return replace(room, is_endpoint_forced=True, deadline_s=deadline_s), (Effect.FORCE_ENDPOINT,)


def _fall_asleep(room: RoomState, *effects: Effect) -> Transition:
    after = () if room.state is ConversationState.ASLEEP else (Effect.END_TURN,)
    return RoomState(turn_number=room.turn_number), (*effects, *after)


def _end_false_wake(room: RoomState) -> Transition:
    """Fall asleep, unless an utterance was transcribed since the wake word."""
    if not room.is_wake_unconfirmed:
        return room, ()
    return _fall_asleep(room, Effect.STOP_PLAYBACK, Effect.REPORT_FALSE_WAKE)


def _stop_listening(room: RoomState) -> Transition:
    return _fall_asleep(room, *((Effect.REPORT_FALSE_WAKE,) if room.is_wake_unconfirmed else ()))


def _in_listening(room: RoomState, event: RoomEvent, now_s: float, limits: Timeouts) -> Transition:
    if event is RoomEvent.SPEECH_STARTED:
        deadline_s = now_s + limits.utterance_max_s
        speaking = replace(room, state=ConversationState.USER_SPEAKING, unprompted=None)
        return replace(speaking, deadline_s=deadline_s), ()
    # An endpoint was forced before SPEECH_STARTED.
    if event in {RoomEvent.TURN_ENDED, RoomEvent.TOO_SHORT}:
        return _in_speech(room, event, now_s, limits)
    if event is RoomEvent.DEADLINE_PASSED:
        if room.is_endpoint_forced or not room.is_button_held:
            return _stop_listening(room)
        return _force_endpoint(room, now_s)
    return room, ()


def _in_speech(room: RoomState, event: RoomEvent, now_s: float, limits: Timeouts) -> Transition:
    if event is RoomEvent.TURN_ENDED:
        # A turn that ended before SPEECH_STARTED has no utterance whose deadline could be kept.
        can_resume = room.state is ConversationState.USER_SPEAKING and not room.is_endpoint_forced
        thinking = replace(
            room,
            state=ConversationState.THINKING,
            is_endpoint_forced=False,
            unprompted=None,
            deadline_s=now_s + limits.think_s,
            resume_until_s=room.deadline_s or 0.0 if can_resume else 0.0,
        )
        return thinking, (Effect.AWAIT_REPLY,)
    if event is RoomEvent.TOO_SHORT:
        return _listen_again(room, now_s)
    if event is RoomEvent.DEADLINE_PASSED:
        return _stop_listening(room) if room.is_endpoint_forced else _force_endpoint(room, now_s)
    return room, ()


def _listen_again(room: RoomState, now_s: float) -> Transition:
    """Listen for the rest of the time, in a new turn: nothing was said in this one."""
    if now_s >= room.listen_until_s or room.is_endpoint_forced:
        return _stop_listening(room)
    waiting = replace(
        room,
        state=ConversationState.LISTENING,
        turn_number=room.turn_number + 1,
        is_endpoint_forced=False,
        deadline_s=room.listen_until_s,
        resume_until_s=0.0,
    )
    return waiting, (Effect.END_TURN, Effect.BEGIN_TURN)


def _in_thinking(room: RoomState, event: RoomEvent, now_s: float, limits: Timeouts) -> Transition:
    understood = replace(room, is_wake_unconfirmed=False, resume_until_s=0.0, can_barge_in=False)
    if event is RoomEvent.TRANSCRIBED:
        # After a forced endpoint the user may still be speaking the same utterance.
        return replace(understood, can_barge_in=room.can_resume), ()
    if event is RoomEvent.USER_RESUMED:
        return _resume_utterance(room, now_s)
    if event is RoomEvent.NO_SPEECH_RECOGNIZED:
        return _listen_again(room, now_s)
    if event is RoomEvent.REPLY_STARTED:
        deadline_s = now_s + limits.reply_max_s
        return replace(understood, state=ConversationState.SPEAKING, deadline_s=deadline_s), ()
    if room.can_barge_in:
        return _in_speaking(room, event, now_s, limits)
    return _finish_reply(room, event, now_s, limits)


def _resume_utterance(room: RoomState, now_s: float) -> Transition:
    """Continue the utterance in the same turn, within its original deadline."""
    until_s = room.resume_until_s
    if now_s >= until_s:
        return room, ()
    speaking = replace(
        room, state=ConversationState.USER_SPEAKING, deadline_s=until_s, resume_until_s=0.0
    )
    return speaking, (Effect.RESUME_UTTERANCE,)


def _in_speaking(room: RoomState, event: RoomEvent, now_s: float, limits: Timeouts) -> Transition:
    if event is RoomEvent.POSSIBLE_SPEECH:
        return room, (Effect.PAUSE_PLAYBACK,)
    if event is RoomEvent.FALSE_ALARM:
        return room, (Effect.RESUME_PLAYBACK,)
    if event is RoomEvent.SPEECH_STARTED:
        user_speaking = RoomState(
            ConversationState.USER_SPEAKING,
            room.turn_number + 1,
            is_button_held=room.is_button_held,
            listen_until_s=now_s + limits.follow_up_s,
            deadline_s=now_s + limits.utterance_max_s,
        )
        return user_speaking, (Effect.REPORT_BARGE_IN, *_NEW_TURN)
    return _finish_reply(room, event, now_s, limits)


def _finish_reply(room: RoomState, event: RoomEvent, now_s: float, limits: Timeouts) -> Transition:
    if event is RoomEvent.DEADLINE_PASSED:
        return _fall_asleep(room, Effect.STOP_PLAYBACK)
    if event is not RoomEvent.REPLY_FINISHED:
        return room, ()
    if not limits.follow_up_s or room.unprompted is RoomEvent.ANNOUNCEMENT_DUE:
        return _fall_asleep(room)
    until_s = now_s + limits.follow_up_s
    waiting = RoomState(
        ConversationState.FOLLOW_UP,
        room.turn_number + 1,
        is_button_held=room.is_button_held,
        listen_until_s=until_s,
        deadline_s=until_s,
        unprompted=room.unprompted,
    )
    return waiting, (Effect.END_TURN, Effect.BEGIN_TURN)


_HANDLERS = {
    ConversationState.ASLEEP: _while_asleep,
    ConversationState.LISTENING: _in_listening,
    ConversationState.USER_SPEAKING: _in_speech,
    ConversationState.THINKING: _in_thinking,
    ConversationState.SPEAKING: _in_speaking,
    ConversationState.FOLLOW_UP: _in_follow_up,
}

"""Conversation state machine of one room: state and event in, new state and effects out. Pure.

asleep ── wake word, button ──> listening ── speech ──> hearing ── end of turn ──> thinking
  ^                              ^  no speech: asleep           no transcript: listening │
  │                              │     ^── user resumed, before there is a transcript ───┤
  │                              │                                                       v
  └──── no speech ──────── follow-up <── reply finished ──────────────────────────── speaking
                                 └── speech ──> hearing <── speech (barge-in) ───────────┘

The button works in every state and ends the running turn. Every state but asleep has a deadline.
One turn runs at a time: events that carry the number of an earlier turn are ignored.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Protocol

FORCED_ENDPOINT_TIMEOUT_S = 2.0  # from FORCE_ENDPOINT to TURN_ENDED or TOO_SHORT


class ConversationState(StrEnum):
    """State of a room's conversation; the values are those of the client protocol."""

    ASLEEP = "asleep"
    LISTENING = "listening"
    USER_SPEAKING = "hearing"
    THINKING = "thinking"
    SPEAKING = "speaking"
    FOLLOW_UP = "follow_up"


class RoomEvent(StrEnum):
    """Input of the state machine; `TURN_EVENTS` carry the number of their turn."""

    WAKE_WORD_DETECTED = "wake_word_detected"
    BUTTON_PRESSED = "button_pressed"
    BUTTON_RELEASED = "button_released"
    STOP = "stop"
    FALSE_WAKE_REPORTED = "false_wake_reported"  # by the user
    POSSIBLE_SPEECH = "possible_speech"
    FALSE_ALARM = "false_alarm"  # the possible speech was none
    SPEECH_STARTED = "speech_started"
    TURN_ENDED = "turn_ended"
    USER_RESUMED = "user_resumed"  # spoke again after TURN_ENDED
    TOO_SHORT = "too_short"  # the turn ended with too little speech for a word
    TRANSCRIBED = "transcribed"  # or transcription failed: the turn can no longer be resumed
    NO_SPEECH_RECOGNIZED = "no_speech_recognized"  # the transcript is empty
    REPLY_STARTED = "reply_started"  # its first audio is played
    REPLY_FINISHED = "reply_finished"
    DEADLINE_PASSED = "deadline_passed"


TURN_EVENTS = frozenset(
    {
        RoomEvent.TURN_ENDED,
        RoomEvent.USER_RESUMED,
        RoomEvent.TOO_SHORT,
        RoomEvent.TRANSCRIBED,
        RoomEvent.NO_SPEECH_RECOGNIZED,
        RoomEvent.REPLY_STARTED,
        RoomEvent.REPLY_FINISHED,
    }
)


class Effect(StrEnum):
    """Output of the state machine, carried out by the stages."""

    BEGIN_TURN = "begin_turn"
    END_TURN = "end_turn"
    PLAY_CHIME = "play_chime"
    FORCE_ENDPOINT = "force_endpoint"  # take the speech so far as the whole utterance
    AWAIT_REPLY = "await_reply"
    RESUME_UTTERANCE = "resume_utterance"  # discard what was made of the utterance so far
    PAUSE_PLAYBACK = "pause_playback"
    RESUME_PLAYBACK = "resume_playback"
    STOP_PLAYBACK = "stop_playback"
    REPORT_BARGE_IN = "report_barge_in"
    REPORT_FALSE_WAKE = "report_false_wake"


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

    @property
    def can_resume(self) -> bool:
        """Whether further speech continues the utterance; not once it is transcribed."""
        return self.state is ConversationState.THINKING and bool(self.resume_until_s)


Transition = tuple[RoomState, tuple[Effect, ...]]
_OPEN_MICROPHONE = frozenset({ConversationState.LISTENING, ConversationState.USER_SPEAKING})
_NEW_TURN = (Effect.STOP_PLAYBACK, Effect.END_TURN, Effect.BEGIN_TURN)


def handle_event(
    room: RoomState, event: RoomEvent, now_s: float, limits: Timeouts, turn: int | None = None
) -> Transition:
    """Return the new state and its effects; `turn` is the number that goes with `TURN_EVENTS`."""
    if event in TURN_EVENTS and turn != room.turn_number:
        return room, ()
    if event is RoomEvent.STOP:
        return _fall_asleep(room, Effect.STOP_PLAYBACK)
    if event is RoomEvent.FALSE_WAKE_REPORTED:
        return _end_false_wake(room)
    if event is RoomEvent.BUTTON_PRESSED or (
        event is RoomEvent.WAKE_WORD_DETECTED and room.state is not ConversationState.USER_SPEAKING
    ):
        return _open_turn(room, event, now_s, limits)
    if event is RoomEvent.BUTTON_RELEASED:
        return _release_button(room, now_s)
    handler = _HANDLERS.get(room.state)
    return handler(room, event, now_s, limits) if handler else (room, ())


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
        return replace(room, state=ConversationState.USER_SPEAKING, deadline_s=deadline_s), ()
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
    understood = replace(room, is_wake_unconfirmed=False, resume_until_s=0.0)
    if event is RoomEvent.TRANSCRIBED:
        return understood, ()
    if event is RoomEvent.USER_RESUMED:
        return _resume_utterance(room, now_s)
    if event is RoomEvent.NO_SPEECH_RECOGNIZED:
        return _listen_again(room, now_s)
    if event is RoomEvent.REPLY_STARTED:
        deadline_s = now_s + limits.reply_max_s
        return replace(understood, state=ConversationState.SPEAKING, deadline_s=deadline_s), ()
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
    if not limits.follow_up_s:
        return _fall_asleep(room)
    until_s = now_s + limits.follow_up_s
    waiting = RoomState(
        ConversationState.FOLLOW_UP,
        room.turn_number + 1,
        is_button_held=room.is_button_held,
        listen_until_s=until_s,
        deadline_s=until_s,
    )
    return waiting, (Effect.END_TURN, Effect.BEGIN_TURN)


_HANDLERS = {
    ConversationState.LISTENING: _in_listening,
    ConversationState.USER_SPEAKING: _in_speech,
    ConversationState.THINKING: _in_thinking,
    ConversationState.SPEAKING: _in_speaking,
    ConversationState.FOLLOW_UP: _in_listening,
}

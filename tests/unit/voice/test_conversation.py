"""Conversation state machine, by scenario and by property over random events."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from barnabee.voice.conversation import RoomState, handle_event
from barnabee.voice.room_events import TURN_EVENTS, ConversationState, Effect, RoomEvent


@dataclass(frozen=True)
class FixedTimeouts:
    listen_s: int = 8
    follow_up_s: int = 6
    utterance_max_s: int = 30
    think_s: int = 45
    reply_max_s: int = 300


TIMEOUTS = FixedTimeouts()
LONGEST_S = 400.0


def run(
    *events: RoomEvent, room: RoomState | None = None, limits: FixedTimeouts = TIMEOUTS
) -> tuple[RoomState, list[Effect]]:
    """Handle events 100 ms apart; turn events carry the number of the running turn."""
    room, effects_seen, now_s = room or RoomState(), [], 0.0
    for event in events:
        now_s += 0.1
        room, effects = handle_event(room, event, now_s, limits, room.turn_number)
        effects_seen += effects
    return room, effects_seen


UTTERANCE = (RoomEvent.WAKE_WORD_DETECTED, RoomEvent.SPEECH_STARTED, RoomEvent.TURN_ENDED)
BARGE_IN = [
    Effect.PAUSE_PLAYBACK,
    Effect.REPORT_BARGE_IN,
    Effect.STOP_PLAYBACK,
    Effect.END_TURN,
    Effect.BEGIN_TURN,
]
SPEAKING = (*UTTERANCE, RoomEvent.TRANSCRIBED, RoomEvent.REPLY_STARTED)


def test_turn_from_wake_word_to_follow_up() -> None:
    room, effects_seen = run(*SPEAKING, RoomEvent.REPLY_FINISHED)
    assert room.state is ConversationState.FOLLOW_UP
    assert effects_seen == [
        Effect.BEGIN_TURN,
        Effect.PLAY_CHIME,
        Effect.AWAIT_REPLY,
        Effect.END_TURN,
        Effect.BEGIN_TURN,
    ]


def test_follow_up_without_speech_ends_asleep_and_is_no_false_wake() -> None:
    room, effects_seen = run(*SPEAKING, RoomEvent.REPLY_FINISHED, RoomEvent.DEADLINE_PASSED)
    assert room.state is ConversationState.ASLEEP
    assert effects_seen[-1] is Effect.END_TURN
    assert Effect.REPORT_FALSE_WAKE not in effects_seen


def test_reply_ends_asleep_when_follow_up_is_disabled() -> None:
    room, _ = run(*SPEAKING, RoomEvent.REPLY_FINISHED, limits=FixedTimeouts(follow_up_s=0))
    assert room.state is ConversationState.ASLEEP


def test_wake_without_speech_is_a_false_wake() -> None:
    room, effects_seen = run(RoomEvent.WAKE_WORD_DETECTED, RoomEvent.DEADLINE_PASSED)
    assert room.state is ConversationState.ASLEEP
    assert effects_seen[-2:] == [Effect.REPORT_FALSE_WAKE, Effect.END_TURN]


@pytest.mark.parametrize("ending", [RoomEvent.TOO_SHORT, RoomEvent.NO_SPEECH_RECOGNIZED])
def test_noise_after_the_wake_word_leaves_the_rest_of_the_listen_time(ending: RoomEvent) -> None:
    before = UTTERANCE[:2] if ending is RoomEvent.TOO_SHORT else UTTERANCE
    room, _ = run(*before, ending)
    assert room.state is ConversationState.LISTENING
    assert room.deadline_s == pytest.approx(0.1 + TIMEOUTS.listen_s)
    room, effects_seen = run(RoomEvent.DEADLINE_PASSED, room=room)
    assert Effect.REPORT_FALSE_WAKE in effects_seen


RINGING = (RoomEvent.RING_DUE, RoomEvent.REPLY_FINISHED)


def test_a_ring_is_spoken_and_then_listened_to_without_a_wake_word() -> None:
    room, effects_seen = run(*RINGING)
    assert room.state is ConversationState.FOLLOW_UP
    assert effects_seen == [
        Effect.BEGIN_TURN,
        Effect.SPEAK_UNPROMPTED,
        Effect.END_TURN,
        Effect.BEGIN_TURN,
    ]
    again, effects_seen = run(RoomEvent.RING_DUE, room=room)
    assert again.state is ConversationState.SPEAKING
    assert effects_seen == [Effect.END_TURN, Effect.BEGIN_TURN, Effect.SPEAK_UNPROMPTED]


def test_an_announcement_does_not_open_the_microphone() -> None:
    room, effects_seen = run(RoomEvent.ANNOUNCEMENT_DUE, RoomEvent.REPLY_FINISHED)
    assert room.state is ConversationState.ASLEEP
    assert effects_seen == [Effect.BEGIN_TURN, Effect.SPEAK_UNPROMPTED, Effect.END_TURN]


@pytest.mark.parametrize("event", [RoomEvent.RING_DUE, RoomEvent.ANNOUNCEMENT_DUE])
@pytest.mark.parametrize(
    "before",
    [
        UTTERANCE[:1],
        UTTERANCE[:2],
        UTTERANCE,
        SPEAKING,
        (*SPEAKING, RoomEvent.REPLY_FINISHED),
        (*RINGING, RoomEvent.SPEECH_STARTED),
    ],
)
def test_nothing_is_spoken_into_a_conversation(
    before: tuple[RoomEvent, ...], event: RoomEvent
) -> None:
    room, _ = run(*before)
    assert run(event, room=room) == (room, [])


def test_a_ring_that_ends_elsewhere_stops_but_not_the_reply_to_a_barge_in() -> None:
    for events in (RINGING[:1], RINGING):
        room, effects_seen = run(*events, RoomEvent.RING_ENDED)
        assert room.state is ConversationState.ASLEEP
        assert effects_seen[-2:] == [Effect.STOP_PLAYBACK, Effect.END_TURN]
    for events in (RINGING[:1], RINGING):
        room, _ = run(*events, *UTTERANCE[1:], RoomEvent.TRANSCRIBED, RoomEvent.REPLY_STARTED)
        assert room.state is ConversationState.SPEAKING
        assert run(RoomEvent.RING_ENDED, room=room) == (room, [])


def test_barge_in_stops_the_reply_and_begins_a_turn() -> None:
    before, _ = run(*SPEAKING)
    room, effects_seen = run(RoomEvent.POSSIBLE_SPEECH, RoomEvent.SPEECH_STARTED, room=before)
    assert room.state is ConversationState.USER_SPEAKING
    assert room.turn_number == before.turn_number + 1
    assert effects_seen == BARGE_IN


def test_false_alarm_resumes_the_reply() -> None:
    room, effects_seen = run(*SPEAKING, RoomEvent.POSSIBLE_SPEECH, RoomEvent.FALSE_ALARM)
    assert room.state is ConversationState.SPEAKING
    assert effects_seen[-2:] == [Effect.PAUSE_PLAYBACK, Effect.RESUME_PLAYBACK]


def test_resuming_before_the_transcript_continues_the_utterance() -> None:
    before, _ = run(*UTTERANCE)
    room, effects_seen = run(
        RoomEvent.USER_RESUMED, RoomEvent.TURN_ENDED, RoomEvent.TRANSCRIBED, room=before
    )
    assert (room.state, room.turn_number) == (ConversationState.THINKING, before.turn_number)
    assert effects_seen == [Effect.RESUME_UTTERANCE, Effect.AWAIT_REPLY]
    assert room.is_wake_unconfirmed is False


def test_resumed_utterance_keeps_its_original_deadline() -> None:
    room, _ = run(*UTTERANCE, RoomEvent.USER_RESUMED)
    assert room.deadline_s == pytest.approx(0.2 + TIMEOUTS.utterance_max_s)
    late, effects = handle_event(
        run(*UTTERANCE)[0], RoomEvent.USER_RESUMED, 60.0, TIMEOUTS, room.turn_number
    )
    assert (late.state, effects) == (ConversationState.THINKING, ())


@pytest.mark.parametrize(
    "events",
    [
        (*UTTERANCE, RoomEvent.TRANSCRIBED),
        SPEAKING,
        (RoomEvent.BUTTON_PRESSED, RoomEvent.SPEECH_STARTED, RoomEvent.BUTTON_RELEASED),
    ],
)
def test_transcribed_or_forced_utterance_cannot_be_resumed(
    events: tuple[RoomEvent, ...],
) -> None:
    room, effects_seen = run(
        *events, *([RoomEvent.TURN_ENDED] if events[-1] is RoomEvent.BUTTON_RELEASED else [])
    )
    assert not room.can_resume
    assert run(RoomEvent.USER_RESUMED, room=room) == (room, [])
    assert Effect.RESUME_UTTERANCE not in effects_seen


def test_speech_after_transcription_begins_a_turn() -> None:
    untranscribed, effects_seen = run(RoomEvent.SPEECH_STARTED, room=run(*UTTERANCE)[0])
    assert (untranscribed.state, effects_seen) == (ConversationState.THINKING, [])
    before, _ = run(*UTTERANCE, RoomEvent.TRANSCRIBED)
    room, effects_seen = run(RoomEvent.POSSIBLE_SPEECH, RoomEvent.SPEECH_STARTED, room=before)
    assert room.state is ConversationState.USER_SPEAKING
    assert room.turn_number == before.turn_number + 1
    assert effects_seen == BARGE_IN


def test_speech_after_a_forced_endpoint_is_not_the_next_turn() -> None:
    """After the button is released, or after the longest utterance, somebody may talk on."""
    forced = (
        RoomEvent.BUTTON_PRESSED,
        RoomEvent.SPEECH_STARTED,
        RoomEvent.BUTTON_RELEASED,
        RoomEvent.TURN_ENDED,
        RoomEvent.TRANSCRIBED,
    )
    before, _ = run(*forced)
    assert run(RoomEvent.SPEECH_STARTED, room=before) == (before, [])


def test_button_holds_the_turn_open_and_its_release_ends_it() -> None:
    room, effects_seen = run(
        RoomEvent.BUTTON_PRESSED, RoomEvent.SPEECH_STARTED, RoomEvent.BUTTON_RELEASED
    )
    assert (room.state, room.is_button_held) == (ConversationState.USER_SPEAKING, False)
    assert effects_seen == [Effect.BEGIN_TURN, Effect.FORCE_ENDPOINT]
    assert Effect.PLAY_CHIME not in effects_seen


def test_endless_utterance_is_ended_by_force_and_then_abandoned() -> None:
    room, effects_seen = run(
        RoomEvent.WAKE_WORD_DETECTED, RoomEvent.SPEECH_STARTED, RoomEvent.DEADLINE_PASSED
    )
    assert (room.state, room.is_endpoint_forced, effects_seen[-1]) == (
        ConversationState.USER_SPEAKING,
        True,
        Effect.FORCE_ENDPOINT,
    )
    assert run(RoomEvent.DEADLINE_PASSED, room=room)[0].state is ConversationState.ASLEEP


def test_events_of_an_earlier_turn_are_ignored() -> None:
    room, _ = run(*SPEAKING, RoomEvent.SPEECH_STARTED)
    for event in TURN_EVENTS:
        assert handle_event(room, event, 9.0, TIMEOUTS, room.turn_number - 1) == (room, ())


def test_user_can_report_a_false_wake_until_the_reply_starts() -> None:
    room, effects_seen = run(*UTTERANCE, RoomEvent.FALSE_WAKE_REPORTED)
    assert room.state is ConversationState.ASLEEP
    assert effects_seen[-3:] == [Effect.STOP_PLAYBACK, Effect.REPORT_FALSE_WAKE, Effect.END_TURN]
    assert run(*SPEAKING, RoomEvent.FALSE_WAKE_REPORTED)[0].state is ConversationState.SPEAKING


events = st.sampled_from(RoomEvent)
steps = st.lists(st.tuples(events, st.floats(0, 5), st.booleans()), max_size=60)


def run_random(
    inputs: list[tuple[RoomEvent, float, bool]], limits: FixedTimeouts = TIMEOUTS
) -> list[tuple[RoomState, RoomEvent, tuple[Effect, ...], RoomState, float]]:
    room, now_s, seen = RoomState(), 0.0, []
    for event, later_s, current in inputs:
        now_s += later_s
        before = room
        turn = room.turn_number if current else room.turn_number - 1
        room, effects = handle_event(room, event, now_s, limits, turn)
        seen.append((before, event, effects, room, now_s))
    return seen


@given(steps, st.integers(0, 6))
@settings(max_examples=400)
def test_every_active_state_has_deadlines_that_lead_to_asleep(
    inputs: list[tuple[RoomEvent, float, bool]], follow_up_s: int
) -> None:
    limits = FixedTimeouts(follow_up_s=follow_up_s)
    for _, _, _, room, now_s in run_random(inputs, limits):
        assert (room.deadline_s is None) == (room.state is ConversationState.ASLEEP)
        passed = 0
        while room.state is not ConversationState.ASLEEP:
            assert room.deadline_s is not None
            assert room.deadline_s <= now_s + LONGEST_S
            room, _ = handle_event(room, RoomEvent.DEADLINE_PASSED, room.deadline_s, limits)  # noqa: PLW2901 - advances
            passed += 1
            assert passed < 4, room


@given(steps)
@settings(max_examples=400)
def test_turns_begin_and_end_in_pairs_and_numbers_increase(
    inputs: list[tuple[RoomEvent, float, bool]],
) -> None:
    running = False
    for before, _, effects, room, _ in run_random(inputs):
        assert room.turn_number in {before.turn_number, before.turn_number + 1}
        for effect in effects:
            if effect is Effect.BEGIN_TURN:
                assert not running
                running = True
            if effect is Effect.END_TURN:
                assert running
                running = False
        assert running == (room.state is not ConversationState.ASLEEP)
        assert (room.turn_number > before.turn_number) == (Effect.BEGIN_TURN in effects)


@given(steps)
@example(
    [
        (RoomEvent.WAKE_WORD_DETECTED, 0.0, False),
        (RoomEvent.TURN_ENDED, 0.0, True),  # before SPEECH_STARTED: there is nothing to resume
        (RoomEvent.USER_RESUMED, 0.0, True),
    ]
)
@settings(max_examples=400)
def test_only_untranscribed_utterances_resume_within_their_deadline(
    inputs: list[tuple[RoomEvent, float, bool]],
) -> None:
    transcribed, until_s = False, 0.0
    for before, event, effects, room, now_s in run_random(inputs):
        if (
            room.state is ConversationState.USER_SPEAKING
            and before.state is not ConversationState.USER_SPEAKING
        ):
            if Effect.RESUME_UTTERANCE in effects:
                assert not transcribed
                assert room.turn_number == before.turn_number
                assert room.deadline_s == until_s
                assert now_s < until_s
            else:
                assert room.deadline_s == now_s + TIMEOUTS.utterance_max_s
        if (
            room.state is ConversationState.USER_SPEAKING
            and not room.is_endpoint_forced
            and room.deadline_s is not None
        ):
            until_s = room.deadline_s
        if Effect.AWAIT_REPLY in effects:
            transcribed = False
        if event is RoomEvent.TRANSCRIBED and before.state is ConversationState.THINKING:
            transcribed = transcribed or room != before
        assert room.can_resume <= (
            room.state is ConversationState.THINKING and not room.is_endpoint_forced
        )


@given(steps)
@settings(max_examples=400)
def test_speech_always_stops_the_reply_and_the_button_always_listens(
    inputs: list[tuple[RoomEvent, float, bool]],
) -> None:
    for before, event, effects, room, now_s in run_random(inputs):
        if (
            before.state is ConversationState.SPEAKING
            and room.state is not ConversationState.SPEAKING
        ):
            replied = event is RoomEvent.REPLY_FINISHED
            assert replied or Effect.STOP_PLAYBACK in effects
        if before.state is ConversationState.SPEAKING and event is RoomEvent.SPEECH_STARTED:
            assert room.state is ConversationState.USER_SPEAKING
        pressed, _ = handle_event(room, RoomEvent.BUTTON_PRESSED, now_s, TIMEOUTS)
        assert pressed.is_button_held
        assert pressed.state in {ConversationState.LISTENING, ConversationState.USER_SPEAKING}
        stopped, _ = handle_event(room, RoomEvent.STOP, now_s, TIMEOUTS)
        assert stopped.state is ConversationState.ASLEEP

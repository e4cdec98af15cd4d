"""The states of a room as a machine: whatever happens in whatever order, it finds its way out."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabee.voice.conversation import OF_A_TURN, Effect, Event, Room, State, step


@dataclass(frozen=True)
class Limits:
    listen_s: int = 8
    follow_up_s: int = 6
    utterance_max_s: int = 30
    think_s: int = 45
    reply_max_s: int = 300


LIMITS = Limits()
LONGEST_S = 400.0


def run(
    *events: Event, room: Room | None = None, limits: Limits = LIMITS
) -> tuple[Room, list[Effect]]:
    """Let events happen 100 ms apart; those of a turn belong to the running one."""
    room, done, now_s = room or Room(), [], 0.0
    for event in events:
        now_s += 0.1
        room, effects = step(room, event, now_s, limits, room.turn)
        done += effects
    return room, done


HEARD = (Event.WOKEN, Event.SPEECH, Event.TURN_ENDED)
SPEAKING = (*HEARD, Event.UNDERSTOOD, Event.REPLYING)


def test_a_turn_from_the_wake_word_to_the_follow_up() -> None:
    room, done = run(*SPEAKING, Event.REPLIED)
    assert room.state is State.FOLLOW_UP
    assert done == [Effect.BEGIN, Effect.CHIME, Effect.THINK, Effect.END, Effect.BEGIN]


def test_after_the_follow_up_it_sleeps_and_nobody_was_falsely_woken() -> None:
    room, done = run(*SPEAKING, Event.REPLIED, Event.PASSED)
    assert room.state is State.ASLEEP
    assert done[-1] is Effect.END
    assert Effect.FALSELY_WOKEN not in done


def test_without_a_follow_up_it_sleeps_at_once() -> None:
    room, _ = run(*SPEAKING, Event.REPLIED, limits=Limits(follow_up_s=0))
    assert room.state is State.ASLEEP


def test_a_wake_after_which_nobody_speaks_was_false() -> None:
    room, done = run(Event.WOKEN, Event.PASSED)
    assert room.state is State.ASLEEP
    assert done[-2:] == [Effect.FALSELY_WOKEN, Effect.END]


@pytest.mark.parametrize("nothing", [Event.NOISE, Event.WORDLESS])
def test_noise_after_a_wake_leaves_the_rest_of_the_time_to_speak(nothing: Event) -> None:
    heard = HEARD[:2] if nothing is Event.NOISE else HEARD
    room, _ = run(*heard, nothing)
    assert room.state is State.LISTENING
    assert room.deadline_s == pytest.approx(0.1 + LIMITS.listen_s)
    room, done = run(Event.PASSED, room=room)
    assert Effect.FALSELY_WOKEN in done


def test_speech_while_it_speaks_ends_the_reply_and_begins_a_turn() -> None:
    before, _ = run(*SPEAKING)
    room, done = run(Event.HINTED, Event.SPEECH, room=before)
    assert room.state is State.HEARING
    assert room.turn == before.turn + 1
    assert done == [Effect.PAUSE, Effect.BARGED_IN, Effect.HUSH, Effect.END, Effect.BEGIN]


def test_a_hint_that_was_nothing_lets_the_reply_go_on() -> None:
    room, done = run(*SPEAKING, Event.HINTED, Event.DENIED)
    assert room.state is State.SPEAKING
    assert done[-2:] == [Effect.PAUSE, Effect.RESUME]


def test_who_goes_on_before_the_words_are_known_says_one_sentence() -> None:
    before, _ = run(*HEARD)
    room, done = run(Event.GOES_ON, Event.TURN_ENDED, Event.UNDERSTOOD, room=before)
    assert (room.state, room.turn) == (State.THINKING, before.turn)
    assert done == [Effect.RECALL, Effect.THINK]
    assert room.woken is False


def test_who_goes_on_has_the_rest_of_the_time_that_an_utterance_may_take() -> None:
    room, _ = run(*HEARD, Event.GOES_ON)
    assert room.deadline_s == pytest.approx(0.2 + LIMITS.utterance_max_s)
    late, effects = step(run(*HEARD)[0], Event.GOES_ON, 60.0, LIMITS, room.turn)
    assert (late.state, effects) == (State.THINKING, ())


@pytest.mark.parametrize(
    "events", [(*HEARD, Event.UNDERSTOOD), SPEAKING, (Event.TALK_ON, Event.SPEECH, Event.TALK_OFF)]
)
def test_words_that_are_known_and_a_turn_that_was_cut_are_not_taken_back(
    events: tuple[Event, ...],
) -> None:
    room, done = run(*events, *([Event.TURN_ENDED] if events[-1] is Event.TALK_OFF else []))
    assert not room.recallable
    assert run(Event.GOES_ON, room=room) == (room, [])
    assert Effect.RECALL not in done


def test_the_button_holds_the_turn_open_and_its_release_ends_it() -> None:
    room, done = run(Event.TALK_ON, Event.SPEECH, Event.TALK_OFF)
    assert (room.state, room.held) == (State.HEARING, False)
    assert done == [Effect.BEGIN, Effect.CUT]
    assert Effect.CHIME not in done


def test_an_utterance_without_an_end_is_cut_and_then_given_up() -> None:
    room, done = run(Event.WOKEN, Event.SPEECH, Event.PASSED)
    assert (room.state, room.cut, done[-1]) == (State.HEARING, True, Effect.CUT)
    assert run(Event.PASSED, room=room)[0].state is State.ASLEEP


def test_what_comes_of_a_turn_that_is_over_is_not_listened_to() -> None:
    room, _ = run(*SPEAKING, Event.SPEECH)
    for event in OF_A_TURN:
        assert step(room, event, 9.0, LIMITS, room.turn - 1) == (room, ())


def test_somebody_may_say_that_nobody_had_called() -> None:
    room, done = run(*HEARD, Event.FALSE_WAKE)
    assert room.state is State.ASLEEP
    assert done[-3:] == [Effect.HUSH, Effect.FALSELY_WOKEN, Effect.END]
    assert run(*SPEAKING, Event.FALSE_WAKE)[0].state is State.SPEAKING


events = st.sampled_from(Event)
steps = st.lists(st.tuples(events, st.floats(0, 5), st.booleans()), max_size=60)


def walk(
    taken: list[tuple[Event, float, bool]], limits: Limits = LIMITS
) -> list[tuple[Room, Event, tuple[Effect, ...], Room, float]]:
    room, now_s, seen = Room(), 0.0, []
    for event, later_s, current in taken:
        now_s += later_s
        before = room
        turn = room.turn if current else room.turn - 1
        room, effects = step(room, event, now_s, limits, turn)
        seen.append((before, event, effects, room, now_s))
    return seen


@given(steps, st.integers(0, 6))
@settings(max_examples=400)
def test_every_state_but_sleep_has_a_deadline_that_leads_back_to_sleep(
    taken: list[tuple[Event, float, bool]], follow_up_s: int
) -> None:
    limits = Limits(follow_up_s=follow_up_s)
    for _, _, _, room, now_s in walk(taken, limits):
        assert (room.deadline_s is None) == (room.state is State.ASLEEP)
        passed = 0
        while room.state is not State.ASLEEP:
            assert room.deadline_s is not None
            assert room.deadline_s <= now_s + LONGEST_S
            room, _ = step(room, Event.PASSED, room.deadline_s, limits)  # noqa: PLW2901 - onwards
            passed += 1
            assert passed < 4, room


@given(steps)
@settings(max_examples=400)
def test_turns_begin_and_end_in_pairs_and_numbers_only_grow(
    taken: list[tuple[Event, float, bool]],
) -> None:
    running = False
    for before, _, effects, room, _ in walk(taken):
        assert room.turn in {before.turn, before.turn + 1}
        for effect in effects:
            if effect is Effect.BEGIN:
                assert not running
                running = True
            if effect is Effect.END:
                assert running
                running = False
        assert running == (room.state is not State.ASLEEP)
        assert (room.turn > before.turn) == (Effect.BEGIN in effects)


@given(steps)
@settings(max_examples=400)
def test_only_what_was_not_understood_is_taken_back_and_only_for_so_long(
    taken: list[tuple[Event, float, bool]],
) -> None:
    understood, until_s = False, 0.0
    for before, event, effects, room, now_s in walk(taken):
        if room.state is State.HEARING and before.state is not State.HEARING:
            if Effect.RECALL in effects:
                assert not understood
                assert room.turn == before.turn
                assert room.deadline_s == until_s
                assert now_s < until_s
            else:
                assert room.deadline_s == now_s + LIMITS.utterance_max_s
        if room.state is State.HEARING and not room.cut and room.deadline_s is not None:
            until_s = room.deadline_s
        if Effect.THINK in effects:
            understood = False
        if event is Event.UNDERSTOOD and before.state is State.THINKING:
            understood = understood or room != before
        assert room.recallable <= (room.state is State.THINKING and not room.cut)


@given(steps)
@settings(max_examples=400)
def test_speech_always_ends_the_reply_and_the_button_always_opens(
    taken: list[tuple[Event, float, bool]],
) -> None:
    for before, event, effects, room, now_s in walk(taken):
        if before.state is State.SPEAKING and room.state is not State.SPEAKING:
            replied = event is Event.REPLIED
            assert replied or Effect.HUSH in effects
        if before.state is State.SPEAKING and event is Event.SPEECH:
            assert room.state is State.HEARING
        pressed, _ = step(room, Event.TALK_ON, now_s, LIMITS)
        assert pressed.held
        assert pressed.state in {State.LISTENING, State.HEARING}
        stopped, _ = step(room, Event.STOP, now_s, LIMITS)
        assert stopped.state is State.ASLEEP

"""Endpointing decisions, by table and by property."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import system
from barnabee.voice.vad import (
    MAX_SPECULATIVE_TRANSCRIPTS,
    EndpointAction,
    EndpointCandidate,
    TurnVerdict,
    choose_action,
    is_complete_sentence,
)
from support.voice import ROOT

TALK = system.load_system(ROOT / "system.toml").talk
JUDGE_MS, PAUSE_MS = TALK.judge_ms, TALK.pause_ms
WHOLE_MS, WAIT_MS = TALK.whole_ms, TALK.wait_ms
NOT_REQUESTED, PENDING = TurnVerdict.NOT_REQUESTED, TurnVerdict.PENDING
COMPLETE, INCOMPLETE = TurnVerdict.COMPLETE, TurnVerdict.INCOMPLETE


@pytest.mark.parametrize(
    ("silent_ms", "audio", "text", "expected"),
    [
        (JUDGE_MS - 32, NOT_REQUESTED, NOT_REQUESTED, None),
        (JUDGE_MS, NOT_REQUESTED, NOT_REQUESTED, EndpointAction.ANALYZE),
        (JUDGE_MS, PENDING, NOT_REQUESTED, None),  # no transcription beside smart-turn
        (PAUSE_MS, PENDING, NOT_REQUESTED, None),
        (JUDGE_MS + 32, COMPLETE, NOT_REQUESTED, EndpointAction.TRANSCRIBE),
        (JUDGE_MS + 32, COMPLETE, PENDING, None),
        (PAUSE_MS, COMPLETE, PENDING, EndpointAction.END_TURN),
        (PAUSE_MS, COMPLETE, INCOMPLETE, EndpointAction.END_TURN),
        (JUDGE_MS + 32, INCOMPLETE, NOT_REQUESTED, None),
        (PAUSE_MS, INCOMPLETE, NOT_REQUESTED, EndpointAction.TRANSCRIBE),
        (PAUSE_MS, INCOMPLETE, COMPLETE, None),
        (WHOLE_MS - 1, INCOMPLETE, COMPLETE, None),
        (WHOLE_MS, INCOMPLETE, COMPLETE, EndpointAction.END_TURN),
        (WHOLE_MS, INCOMPLETE, PENDING, None),
        (WHOLE_MS, INCOMPLETE, INCOMPLETE, None),
        (WAIT_MS, INCOMPLETE, INCOMPLETE, EndpointAction.END_TURN),
        (WAIT_MS, PENDING, NOT_REQUESTED, EndpointAction.END_TURN),
    ],
)
def test_action_by_silence_and_verdicts(
    silent_ms: int, audio: TurnVerdict, text: TurnVerdict, expected: EndpointAction | None
) -> None:
    pause = EndpointCandidate(silent_ms, audio_verdict=audio, text_verdict=text)
    assert choose_action(pause, TALK) is expected


@pytest.mark.parametrize("silent_ms", [PAUSE_MS, WHOLE_MS, WAIT_MS, 9 * WAIT_MS])
def test_turn_does_not_end_while_speech_may_be_starting(silent_ms: int) -> None:
    pause = EndpointCandidate(
        silent_ms, is_silent=False, audio_verdict=COMPLETE, text_verdict=COMPLETE
    )
    assert choose_action(pause, TALK) is None
    assert choose_action(replace(pause, is_silent=True), TALK) is EndpointAction.END_TURN


def test_too_short_sound_ends_early_without_analysis() -> None:
    actions = [
        choose_action(EndpointCandidate(ms, is_long_enough=False), TALK)
        for ms in (JUDGE_MS, PAUSE_MS)
    ]
    assert actions == [None, EndpointAction.END_TURN]


def test_speculative_transcripts_are_limited_for_incomplete_audio() -> None:
    pause = EndpointCandidate(
        PAUSE_MS, audio_verdict=INCOMPLETE, discarded_transcripts=MAX_SPECULATIVE_TRANSCRIPTS - 1
    )
    assert choose_action(pause, TALK) is EndpointAction.TRANSCRIBE
    assert (
        choose_action(replace(pause, discarded_transcripts=MAX_SPECULATIVE_TRANSCRIPTS), TALK)
        is None
    )
    assert (
        choose_action(
            replace(pause, discarded_transcripts=MAX_SPECULATIVE_TRANSCRIPTS, silent_ms=WAIT_MS),
            TALK,
        )
        is EndpointAction.END_TURN
    )
    is_certain = replace(
        pause,
        discarded_transcripts=MAX_SPECULATIVE_TRANSCRIPTS,
        audio_verdict=COMPLETE,
        silent_ms=JUDGE_MS + 32,
    )
    assert choose_action(is_certain, TALK) is EndpointAction.TRANSCRIBE


pauses = st.builds(
    EndpointCandidate,
    st.integers(0, 3000),
    is_silent=st.booleans(),
    is_long_enough=st.booleans(),
    audio_verdict=st.sampled_from(TurnVerdict),
    text_verdict=st.sampled_from(TurnVerdict),
    discarded_transcripts=st.integers(0, 9),
)


@given(pauses)
def test_no_repeated_request_and_no_premature_end(pause: EndpointCandidate) -> None:
    action = choose_action(pause, TALK)
    if action is EndpointAction.ANALYZE:
        assert pause.audio_verdict is NOT_REQUESTED
    if action is EndpointAction.TRANSCRIBE:
        assert pause.text_verdict is NOT_REQUESTED
    if action is EndpointAction.END_TURN:
        assert pause.is_silent
        assert pause.silent_ms >= PAUSE_MS
        is_certain = (
            pause.audio_verdict is COMPLETE
            or pause.text_verdict is COMPLETE
            or not pause.is_long_enough
        )
        assert is_certain or pause.silent_ms >= WAIT_MS
    if pause.is_silent and pause.silent_ms >= WAIT_MS:
        assert action is EndpointAction.END_TURN


@given(pauses, st.booleans(), st.booleans())
def test_every_long_pause_ends_the_turn_for_any_verdicts(
    pause: EndpointCandidate, sounds_complete: bool, reads_complete: bool
) -> None:
    """Step through silence; each verdict arrives one window after its request."""
    pause = replace(
        pause, is_silent=True, silent_ms=0, audio_verdict=NOT_REQUESTED, text_verdict=NOT_REQUESTED
    )
    steps: list[EndpointAction] = []
    while EndpointAction.END_TURN not in steps:
        pause = replace(pause, silent_ms=pause.silent_ms + 32)
        assert pause.silent_ms <= WAIT_MS + 32
        if pause.audio_verdict is PENDING:
            pause = replace(pause, audio_verdict=COMPLETE if sounds_complete else INCOMPLETE)
        if pause.text_verdict is TurnVerdict.PENDING:
            pause = replace(pause, text_verdict=COMPLETE if reads_complete else INCOMPLETE)
        action = choose_action(pause, TALK)
        if action is EndpointAction.ANALYZE:
            pause = replace(pause, audio_verdict=PENDING)
        if action is EndpointAction.TRANSCRIBE:
            pause = replace(pause, text_verdict=PENDING)
        steps += [action] if action else []
    assert len(steps) == len(set(steps))
    if pause.is_long_enough and sounds_complete:
        assert pause.silent_ms <= PAUSE_MS + 32


@pytest.mark.parametrize(
    ("text", "is_complete"),
    [
        ("What can you do?", True),
        ("Turn off the light.", True),
        ('He said "stop."', True),
        ("Set the heating in the...", False),
        ("Set the heating in the\u2026", False),
        ("Set the heating in the living room to", False),
        ("Turn the lights and", False),
        ("Milk, eggs,", False),
        (" . ", False),
        ("", False),
    ],
)
def test_complete_sentences_by_punctuation(text: str, is_complete: bool) -> None:
    assert is_complete_sentence(text) is is_complete

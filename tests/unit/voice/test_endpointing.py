"""Who is asked in a pause, and when the turn ends, by table and by property."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import system
from barnabee.voice.endpointing import (
    GUESSES_MOST,
    Ask,
    Pause,
    Reads,
    Sounds,
    next_step,
    reads_whole,
)
from support.voice import ROOT

TALK = system.load(ROOT / "system.toml").talk
JUDGE_MS, PAUSE_MS = TALK.judge_ms, TALK.pause_ms
WHOLE_MS, WAIT_MS = TALK.whole_ms, TALK.wait_ms
DONE, OPEN, ASKED = Sounds.DONE, Sounds.OPEN, Sounds.ASKED


@pytest.mark.parametrize(
    ("silent_ms", "sounds", "reads", "asked"),
    [
        (JUDGE_MS - 32, Sounds.UNASKED, Reads.UNASKED, None),
        (JUDGE_MS, Sounds.UNASKED, Reads.UNASKED, Ask.JUDGE),
        (JUDGE_MS, ASKED, Reads.UNASKED, None),  # Whisper beside it would make it slow
        (PAUSE_MS, ASKED, Reads.UNASKED, None),
        (JUDGE_MS + 32, DONE, Reads.UNASKED, Ask.TRANSCRIBE),
        (JUDGE_MS + 32, DONE, Reads.ASKED, None),
        (PAUSE_MS, DONE, Reads.ASKED, Ask.END),
        (PAUSE_MS, DONE, Reads.PART, Ask.END),
        (JUDGE_MS + 32, OPEN, Reads.UNASKED, None),
        (PAUSE_MS, OPEN, Reads.UNASKED, Ask.TRANSCRIBE),
        (PAUSE_MS, OPEN, Reads.WHOLE, None),
        (WHOLE_MS - 1, OPEN, Reads.WHOLE, None),
        (WHOLE_MS, OPEN, Reads.WHOLE, Ask.END),
        (WHOLE_MS, OPEN, Reads.ASKED, None),  # nobody knows yet
        (WHOLE_MS, OPEN, Reads.PART, None),
        (WAIT_MS, OPEN, Reads.PART, Ask.END),
        (WAIT_MS, ASKED, Reads.UNASKED, Ask.END),
    ],
)
def test_what_is_done_next(silent_ms: int, sounds: Sounds, reads: Reads, asked: Ask | None) -> None:
    assert next_step(Pause(silent_ms, sounds=sounds, reads=reads), TALK) is asked


@pytest.mark.parametrize("silent_ms", [PAUSE_MS, WHOLE_MS, WAIT_MS, 9 * WAIT_MS])
def test_somebody_who_begins_to_speak_again_is_not_cut_short(silent_ms: int) -> None:
    pause = Pause(silent_ms, quiet=False, sounds=DONE, reads=Reads.WHOLE)
    assert next_step(pause, TALK) is None
    assert next_step(replace(pause, quiet=True), TALK) is Ask.END


def test_a_sound_that_is_too_short_is_over_soon_and_nobody_is_asked_about_it() -> None:
    asked = [next_step(Pause(ms, enough=False), TALK) for ms in (JUDGE_MS, PAUSE_MS)]
    assert asked == [None, Ask.END]


def test_who_speaks_haltingly_is_transcribed_a_few_times_and_then_when_it_sounds_done() -> None:
    pause = Pause(PAUSE_MS, sounds=OPEN, wasted=GUESSES_MOST - 1)
    assert next_step(pause, TALK) is Ask.TRANSCRIBE
    assert next_step(replace(pause, wasted=GUESSES_MOST), TALK) is None
    assert next_step(replace(pause, wasted=GUESSES_MOST, silent_ms=WAIT_MS), TALK) is Ask.END
    sure = replace(pause, wasted=GUESSES_MOST, sounds=DONE, silent_ms=JUDGE_MS + 32)
    assert next_step(sure, TALK) is Ask.TRANSCRIBE


pauses = st.builds(
    Pause,
    st.integers(0, 3000),
    quiet=st.booleans(),
    enough=st.booleans(),
    sounds=st.sampled_from(Sounds),
    reads=st.sampled_from(Reads),
    wasted=st.integers(0, 9),
)


@given(pauses)
def test_nobody_is_asked_twice_and_nobody_is_cut_short(pause: Pause) -> None:
    asked = next_step(pause, TALK)
    if asked is Ask.JUDGE:
        assert pause.sounds is Sounds.UNASKED
    if asked is Ask.TRANSCRIBE:
        assert pause.reads is Reads.UNASKED
    if asked is Ask.END:
        assert pause.quiet
        assert pause.silent_ms >= PAUSE_MS
        sure = pause.sounds is DONE or pause.reads is Reads.WHOLE or not pause.enough
        assert sure or pause.silent_ms >= WAIT_MS
    if pause.quiet and pause.silent_ms >= WAIT_MS:
        assert asked is Ask.END


@given(pauses, st.booleans(), st.booleans())
def test_every_pause_that_lasts_ends_however_the_answers_are(
    pause: Pause, done: bool, whole: bool
) -> None:
    """Walk through silence; each answer comes one window after it was asked for."""
    pause = replace(pause, quiet=True, silent_ms=0, sounds=Sounds.UNASKED, reads=Reads.UNASKED)
    steps: list[Ask] = []
    while Ask.END not in steps:
        pause = replace(pause, silent_ms=pause.silent_ms + 32)
        assert pause.silent_ms <= WAIT_MS + 32
        if pause.sounds is ASKED:
            pause = replace(pause, sounds=DONE if done else OPEN)
        if pause.reads is Reads.ASKED:
            pause = replace(pause, reads=Reads.WHOLE if whole else Reads.PART)
        asked = next_step(pause, TALK)
        if asked is Ask.JUDGE:
            pause = replace(pause, sounds=ASKED)
        if asked is Ask.TRANSCRIBE:
            pause = replace(pause, reads=Reads.ASKED)
        steps += [asked] if asked else []
    assert len(steps) == len(set(steps))
    if pause.enough and done:
        assert pause.silent_ms <= PAUSE_MS + 32


@pytest.mark.parametrize(
    ("text", "whole"),
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
def test_what_reads_like_a_whole_sentence(text: str, whole: bool) -> None:
    assert reads_whole(text) is whole

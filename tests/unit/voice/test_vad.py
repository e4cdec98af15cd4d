"""Voice activity events of a sequence of windows."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import system
from barnabee.voice.vad import WINDOW_MS, VadEvent, VoiceActivityDetector

TALK = system.load_system(Path(__file__).resolve().parents[3] / "system.toml").talk
VOICE, NONE = 950.0, 20.0


def events(
    *windows: float,
    is_assistant_speaking: bool = False,
    detector: VoiceActivityDetector | None = None,
) -> list[VadEvent]:
    detector = detector or VoiceActivityDetector(TALK)
    found = [
        detector.process_window(permille, is_assistant_speaking=is_assistant_speaking)
        for permille in windows
    ]
    return [event for event in found if event]


def windows(ms: int) -> int:
    return round(ms / WINDOW_MS)


def test_speech_starts_pauses_and_resumes() -> None:
    detector = VoiceActivityDetector(TALK)
    assert events(*[VOICE] * 12, detector=detector) == [
        VadEvent.POSSIBLE_SPEECH,
        VadEvent.SPEECH_STARTED,
    ]
    assert events(*[NONE] * 8, detector=detector) == [VadEvent.SPEECH_PAUSED]
    assert detector.silent_ms == 8 * WINDOW_MS
    assert events(*[VOICE] * 3, detector=detector) == [VadEvent.SPEECH_RESUMED]
    assert detector.voiced_ms == 15 * WINDOW_MS


def test_click_is_a_false_alarm() -> None:
    assert events(VOICE, VOICE, VOICE, *[NONE] * 6) == [
        VadEvent.POSSIBLE_SPEECH,
        VadEvent.FALSE_ALARM,
    ]


def test_one_unvoiced_window_does_not_prevent_the_start() -> None:
    found = events(*[VOICE] * 4, NONE, *[VOICE] * 5)
    assert VadEvent.SPEECH_STARTED in found


def test_click_in_a_pause_does_not_resume_speech() -> None:
    detector = VoiceActivityDetector(TALK)
    events(*[VOICE] * 12, *[NONE] * 8, detector=detector)
    assert events(VOICE, NONE, NONE, detector=detector) == []


def test_resuming_after_the_turn_end_requires_as_much_as_starting() -> None:
    detector = VoiceActivityDetector(TALK)
    events(*[VOICE] * 12, *[NONE] * 5, detector=detector)
    detector.is_turn_ended = True
    doubtful = TALK.speech_permille - 50.0
    assert events(*[doubtful] * 9, detector=detector) == []
    found = [detector.process_window(VOICE) for _ in range(windows(TALK.speech_ms))]
    assert found[-1] is VadEvent.SPEECH_RESUMED
    assert set(found[:-1]) == {None}
    assert not detector.is_turn_ended
    assert not detector.is_paused


def test_click_in_a_pause_is_not_silent_until_it_is_over() -> None:
    detector = VoiceActivityDetector(TALK)
    events(*[VOICE] * 12, *[NONE] * 4, detector=detector)
    assert detector.is_silent
    detector.process_window(VOICE)
    assert not detector.is_silent
    detector.process_window(NONE)
    assert detector.is_silent


def test_weak_speech_is_ignored_while_the_assistant_speaks() -> None:
    doubtful = TALK.barge_in_permille - 50.0
    assert events(*[doubtful] * 30, is_assistant_speaking=True) == []
    assert VadEvent.SPEECH_STARTED in events(*[doubtful] * 30)


def test_possible_speech_precedes_a_confirmed_barge_in() -> None:
    detector = VoiceActivityDetector(TALK)
    found = [detector.process_window(VOICE, is_assistant_speaking=True) for _ in range(12)]
    assert found.index(VadEvent.POSSIBLE_SPEECH) + 1 == windows(TALK.hint_ms)
    assert found.index(VadEvent.SPEECH_STARTED) + 1 == windows(TALK.barge_in_ms)


@given(st.lists(st.tuples(st.floats(0, 1000), st.booleans()), max_size=200))
def test_events_come_in_a_valid_order(frames: list[tuple[float, bool]]) -> None:
    after = {
        None: {VadEvent.POSSIBLE_SPEECH, VadEvent.SPEECH_STARTED},
        VadEvent.POSSIBLE_SPEECH: {VadEvent.FALSE_ALARM, VadEvent.SPEECH_STARTED},
        VadEvent.FALSE_ALARM: {VadEvent.POSSIBLE_SPEECH, VadEvent.SPEECH_STARTED},
        VadEvent.SPEECH_STARTED: {VadEvent.SPEECH_PAUSED},
        VadEvent.SPEECH_PAUSED: {VadEvent.SPEECH_RESUMED},
        VadEvent.SPEECH_RESUMED: {VadEvent.SPEECH_PAUSED},
    }
    detector, last = VoiceActivityDetector(TALK), None
    for permille, is_assistant_speaking in frames:
        event = detector.process_window(permille, is_assistant_speaking=is_assistant_speaking)
        if event:
            assert event in after[last]
            last = event
        assert detector.is_paused <= detector.is_speaking

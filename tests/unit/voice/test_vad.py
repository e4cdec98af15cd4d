from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import system
from barnabee.voice.vad import WINDOW_MS, Detector, Sign

TALK = system.load(Path(__file__).resolve().parents[3] / "system.toml").talk
VOICE, NONE = 950.0, 20.0


def signs(*windows: float, careful: bool = False, detector: Detector | None = None) -> list[Sign]:
    detector = detector or Detector(TALK)
    found = [detector.hear(permille, careful=careful) for permille in windows]
    return [sign for sign in found if sign]


def windows(ms: int) -> int:
    return round(ms / WINDOW_MS)


def test_speech_begins_is_paused_and_goes_on() -> None:
    detector = Detector(TALK)
    assert signs(*[VOICE] * 12, detector=detector) == [Sign.HINTED, Sign.BEGAN]
    assert signs(*[NONE] * 8, detector=detector) == [Sign.PAUSED]
    assert detector.silent_ms == 8 * WINDOW_MS
    assert signs(*[VOICE] * 3, detector=detector) == [Sign.RESUMED]
    assert detector.voiced_ms == 15 * WINDOW_MS


def test_a_click_is_a_hint_that_is_denied() -> None:
    assert signs(VOICE, VOICE, VOICE, *[NONE] * 6) == [Sign.HINTED, Sign.DENIED]


def test_a_window_that_is_missed_does_not_end_a_beginning() -> None:
    found = signs(*[VOICE] * 4, NONE, *[VOICE] * 5)
    assert Sign.BEGAN in found


def test_a_click_in_a_pause_is_not_going_on() -> None:
    detector = Detector(TALK)
    signs(*[VOICE] * 12, *[NONE] * 8, detector=detector)
    assert signs(VOICE, NONE, NONE, detector=detector) == []


def test_after_the_end_it_takes_as_much_to_go_on_as_to_begin() -> None:
    detector = Detector(TALK)
    signs(*[VOICE] * 12, *[NONE] * 5, detector=detector)
    detector.over = True
    doubtful = TALK.speech_permille - 50.0
    assert signs(*[doubtful] * 9, detector=detector) == []
    found = [detector.hear(VOICE) for _ in range(windows(TALK.speech_ms))]
    assert found[-1] is Sign.RESUMED
    assert set(found[:-1]) == {None}
    assert not detector.over
    assert not detector.paused


def test_a_click_in_a_pause_is_not_quiet_until_it_is_over() -> None:
    detector = Detector(TALK)
    signs(*[VOICE] * 12, *[NONE] * 4, detector=detector)
    assert detector.quiet
    detector.hear(VOICE)
    assert not detector.quiet
    detector.hear(NONE)
    assert detector.quiet


def test_while_it_speaks_itself_a_doubtful_voice_is_none() -> None:
    doubtful = TALK.barge_in_permille - 50.0
    assert signs(*[doubtful] * 30, careful=True) == []
    assert Sign.BEGAN in signs(*[doubtful] * 30)


def test_while_it_speaks_the_hint_comes_well_before_it_is_sure() -> None:
    detector = Detector(TALK)
    found = [detector.hear(VOICE, careful=True) for _ in range(12)]
    assert found.index(Sign.HINTED) + 1 == windows(TALK.hint_ms)
    assert found.index(Sign.BEGAN) + 1 == windows(TALK.barge_in_ms)


@given(st.lists(st.tuples(st.floats(0, 1000), st.booleans()), max_size=200))
def test_signs_come_in_an_order_that_makes_sense(heard: list[tuple[float, bool]]) -> None:
    after = {
        None: {Sign.HINTED, Sign.BEGAN},
        Sign.HINTED: {Sign.DENIED, Sign.BEGAN},
        Sign.DENIED: {Sign.HINTED, Sign.BEGAN},
        Sign.BEGAN: {Sign.PAUSED},
        Sign.PAUSED: {Sign.RESUMED},
        Sign.RESUMED: {Sign.PAUSED},
    }
    detector, last = Detector(TALK), None
    for permille, careful in heard:
        sign = detector.hear(permille, careful=careful)
        if sign:
            assert sign in after[last]
            last = sign
        assert detector.paused <= detector.speech

"""What a stream may ask for and when it wakes: pure."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.errors import BadInput, BadRequest, TooLarge
from barnabee.core.schema import Wake
from barnabee.gpu.wake_session import (
    FRAME_BYTES,
    SOUND_MAX_BYTES,
    TEXT_MAX_CHARS,
    Cutter,
    Heard,
    Wanted,
    Watch,
    false_wake,
    wanted,
)

TABLE = Wake(
    words=["hey_jarvis", "alexa"],
    threshold_permille=500,
    pause_ms=400,
    streams_max=2,
    room={"kitchen": 650},
)


def watch(threshold: int = 500, pause_ms: int = 400) -> Watch:
    return Watch(Wanted("kitchen", "kitchen", ("hey_jarvis", "alexa"), threshold, pause_ms))


def wakes(scores: list[float], **options: int) -> list[int]:
    """Return the number of each frame that wakes when one word has these scores."""
    ear = watch(**options)
    return [number for number, score in enumerate(scores) if ear.hear({"hey_jarvis": score})]


# ---- asking ----


def test_without_parameters_it_is_what_the_graph_says() -> None:
    assert wanted({}, TABLE) == Wanted("", "other", ("hey_jarvis", "alexa"), 500, 400)


def test_a_room_may_have_a_threshold_of_its_own_and_the_caller_the_last_word() -> None:
    assert wanted({"room": "kitchen"}, TABLE).threshold_permille == 650
    assert wanted({"room": "attic"}, TABLE).threshold_permille == 500
    assert wanted({"room": "kitchen", "threshold": "900"}, TABLE).threshold_permille == 900


def test_only_rooms_of_the_graph_have_a_label_of_their_own() -> None:
    assert wanted({"room": "kitchen"}, TABLE).label == "kitchen"
    assert {wanted({"room": f"r{number}"}, TABLE).label for number in range(50)} == {"other"}


def test_words_are_taken_once_each_in_the_order_given() -> None:
    assert wanted({"words": "alexa,hey_marvin,alexa"}, TABLE).words == ("alexa", "hey_marvin")


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"room": ""}, "`room`"),
        ({"room": "Kitchen"}, "`room`"),
        ({"room": "k" * 65}, "`room`"),
        ({"room": "kitchen\n"}, "`room`"),
        ({"words": ""}, "`words`"),
        ({"words": "alexa,,hey_jarvis"}, "`words`"),
        ({"threshold": ""}, "`threshold`"),
        ({"threshold": "0"}, "within 1 and 1000"),
        ({"threshold": "1001"}, "within 1 and 1000"),
        ({"threshold": "-5"}, "`threshold`"),
        ({"threshold": "0.5"}, "`threshold`"),
        ({"threshold": "\u0665\u0660\u0660"}, "`threshold`"),
        ({"threshold": "9" * 5000}, "`threshold`"),
        ({"treshold": "700"}, "known are room, words, threshold"),
    ],
)
def test_what_cannot_be_asked_for_is_named(query: dict[str, str], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        wanted(query, TABLE)


def test_a_word_that_no_model_knows_is_refused_with_those_that_are_known() -> None:
    with pytest.raises(BadRequest, match="'hal' is not one of alexa, hey_jarvis"):
        wanted({"words": "alexa,hal"}, TABLE).require(["alexa", "hey_jarvis"])


# ---- cutting ----


@given(st.lists(st.binary(max_size=6000), max_size=12))
def test_however_the_sound_comes_the_frames_are_the_same(parts: list[bytes]) -> None:
    cutter = Cutter()
    frames = [frame for part in parts for frame in cutter.add(part)]
    whole = b"".join(parts)
    whole = whole[: len(whole) // FRAME_BYTES * FRAME_BYTES]
    assert b"".join(frame.astype("<i2").tobytes() for frame in frames) == whole
    assert all(frame.shape == (1280,) and frame.dtype == np.int16 for frame in frames)


def test_half_a_sample_waits_for_its_other_half() -> None:
    cutter = Cutter()
    sound = np.arange(1280, dtype="<i2").tobytes()
    assert len(cutter.add(sound[:1001])) == 0
    (frame,) = cutter.add(sound[1001:])
    np.testing.assert_array_equal(frame, np.arange(1280))


def test_a_message_of_two_seconds_is_the_most() -> None:
    assert len(Cutter().add(bytes(SOUND_MAX_BYTES))) == 25
    with pytest.raises(TooLarge, match="65536 bytes"):
        Cutter().add(bytes(SOUND_MAX_BYTES + 1))


# ---- waking ----


def test_it_wakes_when_the_score_rises_to_the_threshold_and_says_when() -> None:
    ear = watch()
    assert ear.hear({"hey_jarvis": 0.499, "alexa": 0.0}) is None
    assert ear.hear({"hey_jarvis": 0.5, "alexa": 0.0}) == Heard("hey_jarvis", 0.5, 160)


def test_of_two_words_the_surer_one_counts() -> None:
    heard = watch().hear({"hey_jarvis": 0.6, "alexa": 0.9})
    assert heard is not None
    assert heard.word == "alexa"


def test_a_word_wakes_once_however_long_it_is_heard() -> None:
    assert wakes([0.9] * 30, pause_ms=80) == [0]


def test_after_a_wake_there_is_a_pause() -> None:
    again = [0.9, 0.0, 0.9, 0.0, 0.0, 0.0, 0.9]
    assert wakes(again, pause_ms=400) == [0, 6]
    assert wakes(again, pause_ms=80) == [0, 2, 6]


def test_the_pause_is_for_all_words() -> None:
    ear = watch()
    assert ear.hear({"hey_jarvis": 0.9, "alexa": 0.0})
    assert ear.hear({"hey_jarvis": 0.0, "alexa": 0.9}) is None


def test_a_word_that_began_within_the_pause_does_not_wake_when_it_ends() -> None:
    assert wakes([0.9, 0.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], pause_ms=240) == [0]


@given(st.lists(st.floats(0, 1), max_size=80), st.integers(1, 1000), st.integers(1, 2000))
def test_two_wakes_are_never_closer_than_the_pause(
    scores: list[float], threshold: int, pause_ms: int
) -> None:
    at = wakes(scores, threshold=threshold, pause_ms=pause_ms)
    assert all(scores[number] * 1000 >= threshold for number in at)
    assert all((b - a) * 80 >= pause_ms for a, b in itertools.pairwise(at))


# ---- false wakes ----


def test_a_false_wake_is_about_the_last_word_or_the_one_it_names() -> None:
    ear = watch()
    ear.hear({"hey_jarvis": 0.9, "alexa": 0.0})
    assert false_wake('{"type": "false_wake"}', ear) == "hey_jarvis"
    assert false_wake('{"type": "false_wake", "word": "alexa"}', ear) == "alexa"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "null",
        "[]",
        "7",
        '{"type": "wake"}',
        '{"type": "false_wake", "room": "x"}',
        '{"type": "false_wake", "word": 5}',
        '{"type": "false_wake", "word": "hal"}',
        '{"type": "false_wake"}',  # no word was heard yet
        "[" * TEXT_MAX_CHARS,
        "x" * (TEXT_MAX_CHARS + 1),
    ],
)
def test_other_messages_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        false_wake(text, watch())

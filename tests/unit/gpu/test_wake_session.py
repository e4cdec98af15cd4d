"""Wake word requests, frames and detections."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.errors import BadInput, BadRequest, TooLarge
from barnabee.core.schema import WakeConfig
from barnabee.gpu.wake_session import (
    FRAME_BYTES,
    MAX_MESSAGE_BYTES,
    MAX_TEXT_CHARS,
    FrameSplitter,
    WakeDetection,
    WakeDetector,
    WakeRequest,
    parse_false_wake,
    parse_wake_request,
)

TABLE = WakeConfig(
    words=["hey_jarvis", "alexa"],
    threshold_permille=500,
    pause_ms=400,
    streams_max=2,
    room={"kitchen": 650},
)


def make_detector(threshold: int = 500, pause_ms: int = 400) -> WakeDetector:
    return WakeDetector(
        WakeRequest("kitchen", "kitchen", ("hey_jarvis", "alexa"), threshold, pause_ms)
    )


def detect_frames(scores: list[float], **options: int) -> list[int]:
    """Return the number of each frame with a detection, for one word with these scores."""
    detector = make_detector(**options)
    return [
        number for number, score in enumerate(scores) if detector.process({"hey_jarvis": score})
    ]


# ---- requests ----


def test_defaults_come_from_system_toml() -> None:
    assert parse_wake_request({}, TABLE) == WakeRequest(
        "", "other", ("hey_jarvis", "alexa"), 500, 400
    )


def test_threshold_of_the_query_overrides_that_of_the_room() -> None:
    assert parse_wake_request({"room": "kitchen"}, TABLE).threshold_permille == 650
    assert parse_wake_request({"room": "attic"}, TABLE).threshold_permille == 500
    assert (
        parse_wake_request({"room": "kitchen", "threshold": "900"}, TABLE).threshold_permille == 900
    )


def test_only_configured_rooms_have_a_metric_label() -> None:
    assert parse_wake_request({"room": "kitchen"}, TABLE).room_label == "kitchen"
    assert {
        parse_wake_request({"room": f"r{number}"}, TABLE).room_label for number in range(50)
    } == {"other"}


def test_words_are_deduplicated_in_order() -> None:
    assert parse_wake_request({"words": "alexa,hey_marvin,alexa"}, TABLE).words == (
        "alexa",
        "hey_marvin",
    )


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
def test_invalid_parameter_is_named(query: dict[str, str], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        parse_wake_request(query, TABLE)


def test_unknown_word_is_refused_with_the_known_ones() -> None:
    with pytest.raises(BadRequest, match="'hal' is not one of alexa, hey_jarvis"):
        parse_wake_request({"words": "alexa,hal"}, TABLE).check_words(["alexa", "hey_jarvis"])


# ---- frames ----


@given(st.lists(st.binary(max_size=6000), max_size=12))
def test_frames_do_not_depend_on_message_boundaries(parts: list[bytes]) -> None:
    splitter = FrameSplitter()
    frames = [frame for part in parts for frame in splitter.split(part)]
    whole = b"".join(parts)
    whole = whole[: len(whole) // FRAME_BYTES * FRAME_BYTES]
    assert b"".join(frame.astype("<i2").tobytes() for frame in frames) == whole
    assert all(frame.shape == (1280,) and frame.dtype == np.int16 for frame in frames)


def test_half_a_sample_waits_for_the_next_message() -> None:
    splitter = FrameSplitter()
    sound = np.arange(1280, dtype="<i2").tobytes()
    assert len(splitter.split(sound[:1001])) == 0
    (frame,) = splitter.split(sound[1001:])
    np.testing.assert_array_equal(frame, np.arange(1280))


def test_longest_message_is_two_seconds() -> None:
    assert len(FrameSplitter().split(bytes(MAX_MESSAGE_BYTES))) == 25
    with pytest.raises(TooLarge, match="65536 bytes"):
        FrameSplitter().split(bytes(MAX_MESSAGE_BYTES + 1))


# ---- detection ----


def test_detects_a_score_that_rises_to_the_threshold() -> None:
    detector = make_detector()
    assert detector.process({"hey_jarvis": 0.499, "alexa": 0.0}) is None
    assert detector.process({"hey_jarvis": 0.5, "alexa": 0.0}) == WakeDetection(
        "hey_jarvis", 0.5, 160
    )


def test_word_with_the_higher_score_is_detected() -> None:
    heard = make_detector().process({"hey_jarvis": 0.6, "alexa": 0.9})
    assert heard is not None
    assert heard.word == "alexa"


def test_sustained_score_is_detected_once() -> None:
    assert detect_frames([0.9] * 30, pause_ms=80) == [0]


def test_pause_follows_a_detection() -> None:
    again = [0.9, 0.0, 0.9, 0.0, 0.0, 0.0, 0.9]
    assert detect_frames(again, pause_ms=400) == [0, 6]
    assert detect_frames(again, pause_ms=80) == [0, 2, 6]


def test_pause_applies_to_all_words() -> None:
    detector = make_detector()
    assert detector.process({"hey_jarvis": 0.9, "alexa": 0.0})
    assert detector.process({"hey_jarvis": 0.0, "alexa": 0.9}) is None


def test_word_that_rose_within_the_pause_is_not_detected_after_it() -> None:
    assert detect_frames([0.9, 0.0, 0.9, 0.9, 0.9, 0.9, 0.9, 0.9], pause_ms=240) == [0]


@given(st.lists(st.floats(0, 1), max_size=80), st.integers(1, 1000), st.integers(1, 2000))
def test_detections_are_never_closer_than_the_pause(
    scores: list[float], threshold: int, pause_ms: int
) -> None:
    at = detect_frames(scores, threshold=threshold, pause_ms=pause_ms)
    assert all(scores[number] * 1000 >= threshold for number in at)
    assert all((b - a) * 80 >= pause_ms for a, b in itertools.pairwise(at))


# ---- false detect_frames ----


def test_false_wake_names_a_word_or_means_the_last_one() -> None:
    detector = make_detector()
    detector.process({"hey_jarvis": 0.9, "alexa": 0.0})
    assert parse_false_wake('{"type": "false_wake"}', detector) == "hey_jarvis"
    assert parse_false_wake('{"type": "false_wake", "word": "alexa"}', detector) == "alexa"


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
        '{"type": "false_wake"}',  # no word was detected yet
        "[" * MAX_TEXT_CHARS,
        "x" * (MAX_TEXT_CHARS + 1),
    ],
)
def test_invalid_messages_are_refused(text: str) -> None:
    with pytest.raises(BadInput):
        parse_false_wake(text, make_detector())

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.voice.playback import (
    CHUNK_MS,
    MAX_CHUNKS_AHEAD,
    PlaybackQueue,
    ReplySegment,
    fade_to_silence,
    join_played_text,
    make_chime,
    split_sentences,
    strip_wake_word,
)

RATE_HZ = 24_000
CHUNK = RATE_HZ * CHUNK_MS // 1000 * 2


def loud(chunks: float) -> bytes:
    return np.full(int(CHUNK * chunks) // 2, 8000, "<i2").tobytes()


def played(queue: PlaybackQueue) -> list[bytes]:
    chunks = []
    while (chunk := queue.next_chunk()) is not None:
        chunks.append(chunk.pcm)
        queue.mark_played()
    return chunks


def test_transport_holds_at_most_two_chunks() -> None:
    queue = PlaybackQueue(RATE_HZ)
    queue.enqueue("reply", loud(5))
    assert [bool(queue.next_chunk()) for _ in range(3)] == [True, True, False]
    queue.mark_played()
    assert queue.next_chunk()
    assert MAX_CHUNKS_AHEAD * CHUNK_MS <= 100


def test_paused_queue_sends_nothing_and_resumes_where_it_stopped() -> None:
    queue = PlaybackQueue(RATE_HZ)
    queue.enqueue("reply", loud(3))
    queue.is_paused = True
    assert queue.next_chunk() is None
    queue.is_paused = False
    assert len(played(queue)) == 3


def test_played_and_synthesized_durations_of_a_segment_are_counted() -> None:
    queue, segment = PlaybackQueue(RATE_HZ), ReplySegment("Hello there.")
    queue.enqueue("reply", loud(4), segment)
    queue.next_chunk()
    assert segment.played_s == 0
    queue.mark_played()
    assert segment.played_s == pytest.approx(0.04)
    assert segment.synthesized_s == pytest.approx(0.16)


def test_filler_fades_out_within_one_chunk_before_the_reply() -> None:
    queue = PlaybackQueue(RATE_HZ)
    queue.enqueue("filler", loud(10))
    queue.fade_out("filler")
    queue.enqueue("reply", loud(1))
    fading, reply = (np.frombuffer(pcm, "<i2") for pcm in played(queue))
    assert (fading[0], fading[-1]) == (8000, 0)
    assert np.all(np.diff(fading) <= 0)
    assert np.all(reply == 8000)


def test_cleared_queue_is_idle() -> None:
    queue = PlaybackQueue(RATE_HZ)
    queue.enqueue("reply", loud(2.5))
    queue.next_chunk()
    queue.clear()
    assert queue.is_idle
    assert queue.mark_played() is None
    queue.finish("reply")
    assert queue.is_idle


@given(st.lists(st.binary(max_size=3 * CHUNK), max_size=8))
def test_every_byte_is_played_once_and_in_order(pieces: list[bytes]) -> None:
    queue = PlaybackQueue(RATE_HZ)
    for piece in pieces:
        queue.enqueue("reply", piece)
    queue.finish("reply")
    whole = b"".join(pieces)
    out = b"".join(played(queue))
    assert out[: len(whole)] == whole
    assert not out[len(whole) :].strip(b"\0")
    assert queue.is_idle


def test_chime_is_short_soft_and_starts_and_ends_in_silence() -> None:
    samples = np.frombuffer(make_chime(RATE_HZ), "<i2")
    assert len(samples) / RATE_HZ == pytest.approx(0.16)
    assert 1000 < np.abs(samples).max() < 5000
    assert max(abs(samples[0]), abs(samples[-1])) < 50


def test_fading_keeps_the_length() -> None:
    assert len(fade_to_silence(loud(1))) == CHUNK


# ---- text ----


@pytest.mark.parametrize(
    ("transcript", "utterance"),
    [
        ("Hey Jarvis, turn on the light.", "turn on the light."),
        ("jarvis turn on the light", "turn on the light"),
        (" Turn on the light.", "Turn on the light."),
        ("Hey, Jarvis!", ""),
        ("Jarvis", ""),
        ("...", ""),
        ("", ""),
        ("Tell Jarvis a joke", "Tell Jarvis a joke"),
        ("Jarvisson is here", "Jarvisson is here"),
    ],
)
def test_wake_word_is_stripped_from_the_transcript(transcript: str, utterance: str) -> None:
    assert strip_wake_word(transcript, ["hey_jarvis"]) == utterance


def test_reply_is_split_into_sentences() -> None:
    text = 'It is 3.5 degrees. Take a coat! "Really?" he said. … '
    assert split_sentences(text) == ["It is 3.5 degrees.", "Take a coat!", '"Really?"', "he said."]
    assert split_sentences("?!") == []


def test_played_text_is_known_to_the_word() -> None:
    first = ReplySegment(
        "The kitchen light is on.", synthesized_s=2.0, played_s=2.0, is_complete=True
    )
    second = ReplySegment(
        "Anything else for you?", synthesized_s=2.0, played_s=1.0, is_complete=True
    )
    third = ReplySegment("Good night.")
    assert join_played_text([first, second, third]) == "The kitchen light is on. Anything"


def test_partly_synthesized_sentence_is_not_played_in_full() -> None:
    text = "The kitchen light is on."
    assert not ReplySegment(text, synthesized_s=0.2, played_s=0.2).get_played_text()
    segment = ReplySegment(text, synthesized_s=0.8, played_s=0.8)
    assert segment.get_played_text() == "The kitchen"


@given(st.text("ab .", max_size=60), st.floats(0, 9), st.floats(0, 9), st.booleans())
def test_played_text_is_a_prefix_of_the_sentence(
    text: str, made: float, share: float, whole: bool
) -> None:
    segment = ReplySegment(text.strip(), made, min(made, share), whole)
    assert segment.text.startswith(segment.get_played_text())

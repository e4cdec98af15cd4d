from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.voice.playback import AHEAD, CHUNK_MS, Mouth, chime, faded
from barnabee.voice.text import Piece

RATE_HZ = 24_000
CHUNK = RATE_HZ * CHUNK_MS // 1000 * 2


def loud(chunks: float) -> bytes:
    return np.full(int(CHUNK * chunks) // 2, 8000, "<i2").tobytes()


def played(mouth: Mouth) -> list[bytes]:
    found = []
    while (chunk := mouth.next()) is not None:
        found.append(chunk.pcm)
        mouth.sent()
    return found


def test_no_more_than_two_chunks_are_ahead() -> None:
    mouth = Mouth(RATE_HZ)
    mouth.add("reply", loud(5))
    assert [bool(mouth.next()) for _ in range(3)] == [True, True, False]
    mouth.sent()
    assert mouth.next()
    assert AHEAD * CHUNK_MS <= 100


def test_while_paused_nothing_goes_out_and_then_it_goes_on_where_it_was() -> None:
    mouth = Mouth(RATE_HZ)
    mouth.add("reply", loud(3))
    mouth.paused = True
    assert mouth.next() is None
    mouth.paused = False
    assert len(played(mouth)) == 3


def test_what_was_played_of_a_piece_is_counted() -> None:
    mouth, piece = Mouth(RATE_HZ), Piece("Hello there.")
    mouth.add("reply", loud(4), piece)
    mouth.next()
    assert piece.played_s == 0
    mouth.sent()
    assert piece.played_s == pytest.approx(0.04)
    assert piece.made_s == pytest.approx(0.16)


def test_a_filler_fades_out_within_one_chunk_when_the_reply_is_there() -> None:
    mouth = Mouth(RATE_HZ)
    mouth.add("filler", loud(10))
    mouth.cut("filler")
    mouth.add("reply", loud(1))
    fading, reply = (np.frombuffer(pcm, "<i2") for pcm in played(mouth))
    assert (fading[0], fading[-1]) == (8000, 0)
    assert np.all(np.diff(fading) <= 0)
    assert np.all(reply == 8000)


def test_after_a_flush_nothing_is_left() -> None:
    mouth = Mouth(RATE_HZ)
    mouth.add("reply", loud(2.5))
    mouth.next()
    mouth.flush()
    assert mouth.idle
    assert mouth.sent() is None
    mouth.close("reply")
    assert mouth.idle


@given(st.lists(st.binary(max_size=3 * CHUNK), max_size=8))
def test_every_byte_is_played_once_and_in_order(pieces: list[bytes]) -> None:
    mouth = Mouth(RATE_HZ)
    for piece in pieces:
        mouth.add("reply", piece)
    mouth.close("reply")
    whole = b"".join(pieces)
    out = b"".join(played(mouth))
    assert out[: len(whole)] == whole
    assert not out[len(whole) :].strip(b"\0")
    assert mouth.idle


def test_the_chime_is_short_soft_and_begins_and_ends_in_silence() -> None:
    samples = np.frombuffer(chime(RATE_HZ), "<i2")
    assert len(samples) / RATE_HZ == pytest.approx(0.16)
    assert 1000 < np.abs(samples).max() < 5000
    assert max(abs(samples[0]), abs(samples[-1])) < 50


def test_fading_keeps_the_length() -> None:
    assert len(faded(loud(1))) == CHUNK

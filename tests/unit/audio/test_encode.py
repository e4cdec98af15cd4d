"""What was said comes out in every form OpenAI's API knows, and decodes to the same sound."""

from __future__ import annotations

import numpy as np
import pytest

from barnabee.audio import decode, encode, wav
from support.sounds import tone

RATE_HZ = 24_000


def pieces(wanted: encode.Format, sound: bytes, count: int) -> list[bytes]:
    encoder = encode.make(wanted, RATE_HZ)
    size = len(sound) // count & ~1
    cut = [sound[start : start + size] for start in range(0, len(sound), size)]
    return [*(encoder.feed(one) for one in cut), encoder.finish()]


@pytest.mark.parametrize("wanted", ["mp3", "opus", "aac", "flac"])
@pytest.mark.parametrize("count", [1, 7])
def test_packed_sound_decodes_to_what_was_said(wanted: encode.Format, count: int) -> None:
    sound = tone(3, RATE_HZ)
    found = wav.decode(
        decode.decode(b"".join(pieces(wanted, sound.tobytes(), count)), max_s=10), 16_000
    )
    assert len(found) / 16_000 == pytest.approx(3, abs=0.15)
    middle = found[8_000:40_000]
    assert np.argmax(np.abs(np.fft.rfft(middle))) / 2 == pytest.approx(440, abs=2)
    assert np.abs(middle).max() == pytest.approx(1 / 3, abs=0.1)


@pytest.mark.parametrize("wanted", ["mp3", "opus", "aac", "flac"])
def test_packed_sound_is_sent_while_the_rest_is_still_to_come(wanted: encode.Format) -> None:
    first, *_ = pieces(wanted, tone(4, RATE_HZ).tobytes(), 4)
    assert len(first) > 2_000


def test_flac_loses_nothing() -> None:
    sound = tone(1, RATE_HZ)
    content = b"".join(pieces("flac", sound.tobytes(), 3))
    heard = wav.decode(decode.decode(content, max_s=10), 16_000)
    again = wav.resample(sound.astype(np.float32) / 32768, RATE_HZ, 16_000)
    np.testing.assert_allclose(heard[800:-800], again[800:-800], atol=2e-3)


def test_wav_has_one_head_and_pcm_none() -> None:
    sound = tone(1, RATE_HZ).tobytes()
    assert b"".join(pieces("pcm", sound, 3)) == sound
    assert b"".join(pieces("wav", sound, 3)) == wav.header(RATE_HZ) + sound


@pytest.mark.parametrize("wanted", sorted(encode.MEDIA_TYPES))
def test_nothing_said_is_no_error(wanted: encode.Format) -> None:
    assert len(encode.make(wanted, RATE_HZ).finish()) in {0, 44}


@pytest.mark.parametrize("wanted", ["mp3", "opus", "aac", "flac"])
def test_a_moment_of_sound_is_enough(wanted: encode.Format) -> None:
    content = b"".join(pieces(wanted, tone(0.02, RATE_HZ).tobytes(), 1))
    assert decode.decode(content, max_s=10).duration_s > 0

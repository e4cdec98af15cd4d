"""Encoders of every format of OpenAI's API, checked by decoding."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from barnabee.audio import encode, wav
from barnabee.audio.samples import resample
from support.audio import make_tone

RATE_HZ = 24_000
DecodeFile = Callable[..., wav.Wav]


def pieces(audio_format: encode.Format, sound: bytes, count: int) -> list[bytes]:
    encoder = encode.make_encoder(audio_format, RATE_HZ)
    size = len(sound) // count & ~1
    cut = [sound[start : start + size] for start in range(0, len(sound), size)]
    return [*(encoder.feed(one) for one in cut), encoder.finish()]


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac", "flac"])
@pytest.mark.parametrize("count", [1, 7])
def test_encoded_audio_decodes_to_the_same_tone(
    decode_file: DecodeFile, audio_format: encode.Format, count: int
) -> None:
    sound = make_tone(3, RATE_HZ)
    found = wav.decode(
        decode_file(b"".join(pieces(audio_format, sound.tobytes(), count)), max_s=10), 16_000
    )
    assert len(found) / 16_000 == pytest.approx(3, abs=0.15)
    middle = found[8_000:40_000]
    assert np.argmax(np.abs(np.fft.rfft(middle))) / 2 == pytest.approx(440, abs=2)
    assert np.abs(middle).max() == pytest.approx(1 / 3, abs=0.1)


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac", "flac"])
def test_encoder_returns_bytes_before_the_end(audio_format: encode.Format) -> None:
    first, *_ = pieces(audio_format, make_tone(4, RATE_HZ).tobytes(), 4)
    assert len(first) > 2_000


def test_flac_is_lossless(decode_file: DecodeFile) -> None:
    sound = make_tone(1, RATE_HZ)
    content = b"".join(pieces("flac", sound.tobytes(), 3))
    decoded = wav.decode(decode_file(content, max_s=10), 16_000)
    expected = resample(sound.astype(np.float32) / 32768, RATE_HZ, 16_000)
    np.testing.assert_allclose(decoded[800:-800], expected[800:-800], atol=2e-3)


def test_wav_has_one_header_and_pcm_none() -> None:
    sound = make_tone(1, RATE_HZ).tobytes()
    assert b"".join(pieces("pcm", sound, 3)) == sound
    assert b"".join(pieces("wav", sound, 3)) == wav.make_header(RATE_HZ) + sound


@pytest.mark.parametrize("audio_format", sorted(encode.MEDIA_TYPES))
def test_empty_audio_is_encoded(audio_format: encode.Format) -> None:
    assert len(encode.make_encoder(audio_format, RATE_HZ).finish()) in {0, 44}


@pytest.mark.parametrize("audio_format", ["mp3", "opus", "aac", "flac"])
def test_very_short_audio_is_encoded(decode_file: DecodeFile, audio_format: encode.Format) -> None:
    content = b"".join(pieces(audio_format, make_tone(0.02, RATE_HZ).tobytes(), 1))
    assert decode_file(content, max_s=10).duration_s > 0

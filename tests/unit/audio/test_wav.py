from __future__ import annotations

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from barnabee.audio import wav
from barnabee.audio.samples import resample, to_pcm16
from barnabee.core.errors import BadInput, InvalidAudio, TooLarge

MAX_S = 300


def make_tone(rate_hz: int, seconds: float = 1.0, pitch_hz: float = 440.0) -> np.ndarray:
    return (
        0.5 * np.sin(2 * np.pi * pitch_hz * np.arange(int(rate_hz * seconds)) / rate_hz)
    ).astype(np.float32)


def riff(encoding: int, channels: int, rate_hz: int, bits: int, data: bytes) -> bytes:
    block = channels * bits // 8
    form = struct.pack("<HHIIHH", encoding, channels, rate_hz, rate_hz * block, block, bits)
    chunks = b"fmt " + struct.pack("<I", 16) + form + b"data" + struct.pack("<I", len(data)) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def decode_at_16_khz(content: bytes) -> np.ndarray:
    return wav.decode(wav.parse(content, max_s=MAX_S), 16_000)


ENCODINGS = {
    "8 bit": (1, 8, lambda x: (x * 127 + 128).astype("u1").tobytes(), 0.02),
    "16 bit": (1, 16, lambda x: (x * 32767).astype("<i2").tobytes(), 1e-4),
    "24 bit": (
        1,
        24,
        lambda x: (x * 8388607).astype("<i4").view("u1").reshape(-1, 4)[:, :3].tobytes(),
        1e-6,
    ),
    "32 bit": (1, 32, lambda x: (x.astype("f8") * 2147483647).astype("<i4").tobytes(), 1e-6),
    "float": (3, 32, lambda x: x.astype("<f4").tobytes(), 1e-7),
    "double": (3, 64, lambda x: x.astype("<f8").tobytes(), 1e-7),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_every_pcm_encoding_decodes_to_the_same_samples(name: str) -> None:
    encoding, bits, pack, tolerance = ENCODINGS[name]
    sound = make_tone(16_000)
    np.testing.assert_allclose(
        decode_at_16_khz(riff(encoding, 1, 16_000, bits, pack(sound))), sound, atol=tolerance
    )


@pytest.mark.parametrize("rate_hz", [8_000, 11_025, 22_050, 24_000, 44_100, 48_000, 96_000])
def test_resampling_preserves_a_tone(rate_hz: int) -> None:
    got = resample(make_tone(rate_hz, 2.0), rate_hz, 16_000)
    expected = make_tone(16_000, 2.0)
    assert got.shape == expected.shape
    np.testing.assert_allclose(got[2000:-2000], expected[2000:-2000], atol=0.01)


def test_resampling_removes_tones_above_the_new_limit() -> None:
    got = resample(make_tone(48_000, 1.0, pitch_hz=12_000), 48_000, 16_000)
    assert np.abs(got[1000:-1000]).max() < 0.01


def test_resampling_long_audio_has_no_seams() -> None:
    got = resample(make_tone(24_000, 25.0), 24_000, 16_000)
    np.testing.assert_allclose(got[2000:-2000], make_tone(16_000, 25.0)[2000:-2000], atol=0.01)


def test_stereo_is_averaged() -> None:
    left = make_tone(16_000)
    both = np.stack([left, np.zeros_like(left)], axis=1)
    content = riff(3, 2, 16_000, 32, both.astype("<f4").tobytes())
    np.testing.assert_allclose(decode_at_16_khz(content), left / 2, atol=1e-6)


def test_extensible_format_is_read() -> None:
    data = (make_tone(16_000) * 32767).astype("<i2").tobytes()
    form = struct.pack("<HHIIHH", 0xFFFE, 1, 16_000, 32_000, 2, 16)
    form += struct.pack("<HHI", 22, 16, 4) + struct.pack("<H", 1) + b"\0" * 14
    chunks = b"fmt " + struct.pack("<I", len(form)) + form
    chunks += b"LIST" + struct.pack("<I", 3) + b"abc\0" + b"data" + struct.pack("<I", len(data))
    content = b"RIFF\0\0\0\0WAVE" + chunks + data
    assert wav.parse(content, max_s=MAX_S).duration_s == pytest.approx(1.0)


def test_streamed_file_of_unknown_length_is_read_to_its_end() -> None:
    content = wav.make_header(24_000) + to_pcm16(make_tone(24_000, 2.0))
    assert wav.parse(content, max_s=MAX_S).duration_s == pytest.approx(2.0)


def test_encoded_file_decodes_to_the_same_samples() -> None:
    data = to_pcm16(make_tone(16_000))
    np.testing.assert_allclose(
        decode_at_16_khz(wav.encode(data, 16_000)), make_tone(16_000), atol=1e-4
    )


PCM = to_pcm16(make_tone(16_000, 0.1))


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "not a WAV"),
        (b"hello, I am text", "not a WAV"),
        (b"ID3\x04 an mp3 file perhaps" * 20, "not a WAV"),
        (b"RIFF\0\0\0\0WAVE", "contains no audio"),
        (wav.make_header(16_000, 0), "0 s"),
        (riff(1, 1, 16_000, 16, b"\0"), "0 s"),
        (b"RIFF\0\0\0\0WAVEdata" + struct.pack("<I", 4) + b"abcd", "before its format"),
        (b"RIFF\0\0\0\0WAVEfmt " + struct.pack("<I", 4) + b"abcd", "cut off"),
        (riff(1, 0, 16_000, 16, PCM), "0 channels"),
        (riff(1, 99, 16_000, 16, PCM), "99 channels"),
        (riff(1, 1, 0, 16, PCM), "0 Hz"),
        (riff(1, 1, 1_000_000, 16, PCM), "1000000 Hz"),
        (riff(85, 1, 16_000, 16, PCM), "encoding 85"),
        (riff(1, 1, 16_000, 12, PCM), "12 bits"),
    ],
)
def test_invalid_file_is_refused_with_the_reason(content: bytes, reason: str) -> None:
    with pytest.raises(InvalidAudio, match=reason):
        decode_at_16_khz(content)


def test_audio_over_the_limit_is_refused_undecoded() -> None:
    data = bytes(600 * 16_000 * 2)
    with pytest.raises(TooLarge, match="600 s"):
        wav.parse(wav.encode(data, 16_000), max_s=MAX_S)


def test_nan_becomes_silence() -> None:
    strange = np.array([np.nan, np.inf, -np.inf, 0.5], "<f4")
    got = decode_at_16_khz(riff(3, 1, 16_000, 32, strange.tobytes()))
    np.testing.assert_array_equal(got, [0.0, 1.0, -1.0, 0.5])


@given(st.binary(max_size=200), st.booleans())
def test_random_bytes_are_decoded_or_refused(content: bytes, headed: bool) -> None:
    content = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + content if headed else content
    try:
        samples = decode_at_16_khz(content)
    except BadInput:
        return
    assert samples.dtype == np.float32
    assert np.isfinite(samples).all()

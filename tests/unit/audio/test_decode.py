"""Decoding of MP3, MP4, AAC, FLAC, Ogg and WebM, damaged and malicious files included."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabee.audio import wav
from barnabee.audio.samples import Samples
from barnabee.core.errors import InvalidAudio, TooLarge
from support.audio import FORMATS, encode_audio, make_tone

RATE_HZ = 24_000
DecodeFile = Callable[..., wav.Wav]
DecodeSamples = Callable[[bytes], Samples]


@pytest.fixture
def decode_samples(decode_file: DecodeFile) -> Callable[[bytes], Samples]:
    return lambda content: wav.decode(decode_file(content), 16_000)


def pitch_hz(samples: Samples, rate_hz: int = 16_000) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(samples))) * rate_hz / len(samples))


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("channels", [1, 2])
def test_each_format_is_decoded_to_16_khz_mono(
    decode_samples: DecodeSamples, form: str, channels: int
) -> None:
    found = decode_samples(encode_audio(form, make_tone(2, RATE_HZ), RATE_HZ, channels=channels))
    assert len(found) / 16_000 == pytest.approx(2, abs=0.12)  # codecs add some silence
    middle = found[8_000:24_000]
    assert pitch_hz(middle) == pytest.approx(440, abs=2)
    assert np.abs(middle).max() == pytest.approx(1 / 3, abs=0.1)


def test_flac_is_lossless(decode_samples: DecodeSamples) -> None:
    sound = make_tone(1, 16_000)
    found = decode_samples(encode_audio("flac", sound, 16_000))
    np.testing.assert_allclose(found, sound / 32768, atol=1e-4)


@pytest.mark.parametrize("form", FORMATS)
def test_truncated_file_is_decoded_as_far_as_it_goes(
    decode_samples: DecodeSamples, form: str
) -> None:
    content = encode_audio(
        form, make_tone(4, RATE_HZ), RATE_HZ, movflags="frag_keyframe+empty_moov"
    )
    found = decode_samples(content[: len(content) * 2 // 3])
    assert 1 < len(found) / 16_000 < 4


@pytest.mark.parametrize("form", ["mp3", "aac", "ogg"])
def test_damaged_packet_loses_only_itself(decode_samples: DecodeSamples, form: str) -> None:
    content = bytearray(encode_audio(form, make_tone(4, RATE_HZ), RATE_HZ))
    half = len(content) // 2
    content[half : half + 40] = bytes(40)
    assert len(decode_samples(bytes(content))) / 16_000 > 2.5


@pytest.mark.parametrize("form", FORMATS)
def test_audio_over_the_limit_is_refused(decode_file: DecodeFile, form: str) -> None:
    content = encode_audio(form, np.zeros(20 * 8_000 * 3, np.int16), 48_000)
    with pytest.raises(TooLarge, match="5 s"):
        decode_file(content, max_s=5)


def test_small_file_with_long_audio_stops_at_the_limit(decode_file: DecodeFile) -> None:
    hour = encode_audio("flac", np.zeros(16_000 * 600, np.int16), 16_000)
    assert len(hour) < 200_000
    with pytest.raises(TooLarge):
        decode_file(hour, max_s=300)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"plain text",
        b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
        b"ffconcat version 1.0\nfile /etc/passwd\n",
        b"\xff",
        b"GIF89a" + bytes(100),
        b"<SMIL></SMIL>",
    ],
)
def test_unknown_formats_are_refused(decode_file: DecodeFile, content: bytes) -> None:
    with pytest.raises(InvalidAudio, match="format is unknown; supported are WAV"):
        decode_file(content, max_s=60)


@pytest.mark.parametrize("start", [b"ID3", b"fLaC", b"OggS", b"\x1aE\xdf\xa3", b"\0\0\0\x20ftyp"])
def test_known_magic_with_invalid_content_is_refused(decode_file: DecodeFile, start: bytes) -> None:
    for rest in (b"", bytes(200), b"\xff" * 200):
        with pytest.raises(InvalidAudio):
            decode_file(start + rest, max_s=60)


SEEDS = {form: encode_audio(form, make_tone(0.5, RATE_HZ), RATE_HZ) for form in FORMATS}


@settings(max_examples=150)
@given(
    form=st.sampled_from(sorted(FORMATS)),
    positions=st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=20),
    cut=st.integers(0, 10**6),
)
def test_damaged_files_are_decoded_or_refused(
    decode_file: DecodeFile, form: str, positions: list[tuple[int, int]], cut: int
) -> None:
    content = bytearray(SEEDS[form])
    for position, value in positions:
        content[position % len(content)] = value
    try:
        found = decode_file(bytes(content[: cut % (2 * len(content))]), max_s=5)
    except (InvalidAudio, TooLarge):
        pass
    else:
        assert 0 < found.duration_s <= 5.1
        assert np.isfinite(wav.decode(found, 16_000)).all()

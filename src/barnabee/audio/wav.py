"""WAV (RIFF) files: reads any usual PCM encoding, writes 16-bit mono PCM. Pure.

Input is not trusted: sizes in the header are upper limits and never allocate memory, the number of
chunks is limited, and a file that is truncated or was streamed with an unknown length is read as
far as it goes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnabee.audio.samples import Samples, resample
from barnabee.core.errors import InvalidAudio, TooLarge

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 8
MAX_CHUNKS = 100  # before the audio; files have fewer than ten
UNKNOWN_SIZE = 0xFFFFFFFF
MAGIC = frozenset({b"RIFF", b"RF64"})
_FORMAT_BYTES = 16
# numpy type of each (encoding, bits); 24 bits are read as bytes
_DTYPES = {
    (PCM, 8): "u1",
    (PCM, 16): "<i2",
    (PCM, 24): "u1",
    (PCM, 32): "<i4",
    (FLOAT, 32): "<f4",
    (FLOAT, 64): "<f8",
}


@dataclass(frozen=True, slots=True)
class Wav:
    """Header and undecoded audio data of a file."""

    encoding: int
    channels: int
    rate_hz: int
    bits: int
    data: memoryview

    @property
    def frame_bytes(self) -> int:
        """Bytes of one sample of all channels."""
        return self.channels * self.bits // 8

    @property
    def duration_s(self) -> float:
        return len(self.data) // self.frame_bytes / self.rate_hz


def parse(content: bytes, *, max_s: int) -> Wav:
    """Read the header; InvalidAudio, or TooLarge when the audio is longer than `max_s`."""
    if content[:4] not in MAGIC or content[8:12] != b"WAVE":
        raise InvalidAudio(reason="it is not a WAV file")
    form: tuple[int, int, int, int] | None = None
    position = 12
    view = memoryview(content)
    for _ in range(MAX_CHUNKS):
        if position + 8 > len(content):
            break
        name, size = struct.unpack_from("<4sI", content, position)
        body = view[position + 8 : position + 8 + size]
        if name == b"fmt ":
            form = _parse_format(body)
        elif name == b"data":
            if form is None:
                raise InvalidAudio(reason="its data comes before its format")
            wav = Wav(*form, data=body)
            _check_length(wav, max_s)
            return wav
        position += 8 + size + (size & 1)
    raise InvalidAudio(reason=f"it contains no audio in its first {MAX_CHUNKS} chunks")


def decode(wav: Wav, rate_hz: int) -> Samples:
    """Mix to one channel and resample to `rate_hz`."""
    frames = len(wav.data) // wav.frame_bytes
    raw = wav.data[: frames * wav.frame_bytes]
    mono = _to_float(raw, wav).reshape(frames, wav.channels).mean(axis=1, dtype=np.float32)
    mono = np.clip(np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    return resample(mono, wav.rate_hz, rate_hz)


def encode(pcm: bytes, rate_hz: int) -> bytes:
    """Return a file of 16-bit mono PCM."""
    return make_header(rate_hz, len(pcm)) + pcm


def make_header(rate_hz: int, data_bytes: int | None = None) -> bytes:
    """Return the 44-byte header of 16-bit mono PCM; None for a stream of unknown length."""
    size = UNKNOWN_SIZE if data_bytes is None else data_bytes
    riff = UNKNOWN_SIZE if data_bytes is None else 36 + data_bytes
    form = struct.pack("<HHIIHH", PCM, 1, rate_hz, rate_hz * 2, 2, 16)
    start = struct.pack("<4sI8sI", b"RIFF", riff, b"WAVEfmt ", len(form))
    return start + form + struct.pack("<4sI", b"data", size)


def set_length(content: bytes) -> bytes:
    """Return a streamed file with its true length in the header; other content unchanged."""
    start = content.find(b"data") + 4
    if not content.startswith(b"RIFF") or start < _FORMAT_BYTES:  # no RIFF header is shorter
        return content
    riff, data = struct.pack("<I", len(content) - 8), struct.pack("<I", len(content) - start - 4)
    return content[:4] + riff + content[8:start] + data + content[start + 4 :]


def _parse_format(body: memoryview) -> tuple[int, int, int, int]:
    if len(body) < _FORMAT_BYTES:
        raise InvalidAudio(reason="its format is cut off")
    encoding, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if encoding == EXTENSIBLE and len(body) >= _FORMAT_BYTES + 10:
        encoding = struct.unpack_from("<H", body, _FORMAT_BYTES + 8)[0]
    if (encoding, bits) not in _DTYPES:
        raise InvalidAudio(reason=f"its encoding {encoding} with {bits} bits is not PCM")
    if not MIN_RATE_HZ <= rate_hz <= MAX_RATE_HZ:
        raise InvalidAudio(reason=f"its rate of {rate_hz} Hz is not within 4 to 192 kHz")
    if not 1 <= channels <= MAX_CHANNELS:
        raise InvalidAudio(reason=f"it has {channels} channels")
    return encoding, channels, rate_hz, bits


def _check_length(wav: Wav, max_s: int) -> None:
    if wav.duration_s <= 0:
        raise InvalidAudio(reason="it lasts 0 s")
    if wav.duration_s > max_s:
        raise TooLarge(field=f"sound in `file` ({wav.duration_s:.0f} s)", limit=f"{max_s} s")


def _to_float(raw: memoryview, wav: Wav) -> Samples:
    values: NDArray[Any] = np.frombuffer(raw, _DTYPES[wav.encoding, wav.bits])
    if wav.encoding == FLOAT:
        return values.astype(np.float32)
    if wav.bits == 8:  # noqa: PLR2004 - the only unsigned encoding
        return (values.astype(np.float32) - np.float32(128)) / np.float32(128)
    if wav.bits == 24:  # noqa: PLR2004 - three bytes, moved to the top of four
        wide = np.zeros((len(values) // 3, 4), np.uint8)
        wide[:, 1:] = values.reshape(-1, 3)
        values = wide.reshape(-1).view("<i4")
    scale = np.float32(2 ** (values.dtype.itemsize * 8 - 1))
    return np.asarray(values.astype(np.float32) / scale, np.float32)

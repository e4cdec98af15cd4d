"""Reads and writes WAV (RIFF) sound: any usual PCM form in, 16-bit PCM out.

Pure. Takes nothing on trust: sizes in the header are limits, never allocations, and a file that
was cut off or streamed with an unknown length is read as far as it goes.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnabee.core.errors import InvalidAudio, TooLarge
from barnabee.gpu.engines.protocols import Samples

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
MIN_RATE_HZ, MAX_RATE_HZ = 4_000, 192_000
MAX_CHANNELS = 8
UNKNOWN_SIZE = 0xFFFFFFFF
MAGIC = frozenset({b"RIFF", b"RF64"})
_FORMAT_BYTES = 16
_BLOCK_S = 10


@dataclass(frozen=True, slots=True)
class Wav:
    """A parsed file; the sound itself is not decoded yet."""

    encoding: int
    channels: int
    rate_hz: int
    bits: int
    data: memoryview

    @property
    def frame_bytes(self) -> int:
        """Return the bytes of one sample of all channels."""
        return self.channels * self.bits // 8

    @property
    def duration_s(self) -> float:
        """Return how long it sounds."""
        return len(self.data) // self.frame_bytes / self.rate_hz


def parse(content: bytes, *, max_s: int) -> Wav:
    """Return what the header says; InvalidAudio, or TooLarge when longer than `max_s`. Pure."""
    if content[:4] not in MAGIC or content[8:12] != b"WAVE":
        raise InvalidAudio(reason="it is not a WAV file")
    form: tuple[int, int, int, int] | None = None
    position = 12
    view = memoryview(content)
    while position + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, position)
        body = view[position + 8 : position + 8 + size]
        if name == b"fmt ":
            form = _format(body)
        elif name == b"data":
            if form is None:
                raise InvalidAudio(reason="its sound comes before its format")
            wav = Wav(*form, data=body)
            _check_length(wav, max_s)
            return wav
        position += 8 + size + (size & 1)
    raise InvalidAudio(reason="it holds no sound")


def decode(wav: Wav, rate_hz: int) -> Samples:
    """Return the sound as one channel of float32 in [-1, 1] at `rate_hz`. Pure."""
    frames = len(wav.data) // wav.frame_bytes
    raw = wav.data[: frames * wav.frame_bytes]
    mono = _numbers(raw, wav).reshape(frames, wav.channels).mean(axis=1, dtype=np.float32)
    mono = np.clip(np.nan_to_num(mono, nan=0.0, posinf=1.0, neginf=-1.0), -1.0, 1.0)
    return resample(mono, wav.rate_hz, rate_hz)


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """Return `samples` at another rate, band-limited (Fourier method). Pure.

    In blocks of 10 s with 1 s on each side thrown away, so that memory stays small and a block's
    ends are never heard.
    """
    if from_hz == to_hz:
        return samples
    quiet = np.zeros(from_hz, np.float32)
    padded = np.concatenate([quiet, samples, quiet])
    wanted = round(len(samples) * to_hz / from_hz)
    blocks: list[Samples] = []
    for start in range(0, len(samples), _BLOCK_S * from_hz):
        block = padded[start : start + (_BLOCK_S + 2) * from_hz]
        length = round(len(block) * to_hz / from_hz)
        moved = np.fft.irfft(_cut(np.fft.rfft(block), length // 2 + 1), length)
        body = moved[to_hz : to_hz + _BLOCK_S * to_hz] * np.float32(length / len(block))
        blocks.append(body.astype(np.float32, copy=False))
    return np.concatenate(blocks)[:wanted] if blocks else samples


def pcm16(samples: Samples) -> bytes:
    """Return samples as signed 16-bit little-endian. Pure."""
    return (np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()


def header(rate_hz: int, data_bytes: int | None = None) -> bytes:
    """Return the 44 bytes before 16-bit mono sound; None when its length is not known yet. Pure."""
    size = UNKNOWN_SIZE if data_bytes is None else data_bytes
    riff = UNKNOWN_SIZE if data_bytes is None else 36 + data_bytes
    form = struct.pack("<HHIIHH", PCM, 1, rate_hz, rate_hz * 2, 2, 16)
    start = struct.pack("<4sI8sI", b"RIFF", riff, b"WAVEfmt ", len(form))
    return start + form + struct.pack("<4sI", b"data", size)


def _format(body: memoryview) -> tuple[int, int, int, int]:
    if len(body) < _FORMAT_BYTES:
        raise InvalidAudio(reason="its format is cut off")
    encoding, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", body)
    if encoding == EXTENSIBLE and len(body) >= _FORMAT_BYTES + 10:
        encoding = struct.unpack_from("<H", body, _FORMAT_BYTES + 8)[0]
    if (encoding, bits) not in _NUMBERS:
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


_NUMBERS = {
    (PCM, 8): "u1",
    (PCM, 16): "<i2",
    (PCM, 24): "u1",
    (PCM, 32): "<i4",
    (FLOAT, 32): "<f4",
    (FLOAT, 64): "<f8",
}


def _numbers(raw: memoryview, wav: Wav) -> Samples:
    values: NDArray[Any] = np.frombuffer(raw, _NUMBERS[wav.encoding, wav.bits])
    if wav.encoding == FLOAT:
        return values.astype(np.float32)
    if wav.bits == 8:  # noqa: PLR2004 - the one unsigned form
        return (values.astype(np.float32) - np.float32(128)) / np.float32(128)
    if wav.bits == 24:  # noqa: PLR2004 - three bytes, moved to the top of four
        wide = np.zeros((len(values) // 3, 4), np.uint8)
        wide[:, 1:] = values.reshape(-1, 3)
        values = wide.reshape(-1).view("<i4")
    scale = np.float32(2 ** (values.dtype.itemsize * 8 - 1))
    return np.asarray(values.astype(np.float32) / scale, np.float32)


def _cut(spectrum: NDArray[np.complex128], bins: int) -> NDArray[np.complex128]:
    if len(spectrum) >= bins:
        return spectrum[:bins]
    return np.concatenate([spectrum, np.zeros(bins - len(spectrum), spectrum.dtype)])

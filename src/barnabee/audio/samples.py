"""Audio samples: mono float32 arrays, their rates, resampling and conversion to 16-bit PCM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (n,), mono, in [-1, 1]

STT_RATE_HZ = 16_000  # of speech-to-text and wake word engines
_BLOCK_S = 10


def to_pcm16(samples: Samples) -> bytes:
    """Return signed 16-bit little-endian PCM. Pure."""
    return (np.clip(samples, -1.0, 1.0) * 32767.0).astype("<i2").tobytes()


def resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    """Return `samples` at another rate, band-limited (Fourier method). Pure.

    Works in blocks of 10 s with 1 s of overlap on each side, which bounds memory and hides the
    blocks' edges.
    """
    if from_hz == to_hz:
        return samples
    silence = np.zeros(from_hz, np.float32)
    padded = np.concatenate([silence, samples, silence])
    count = round(len(samples) * to_hz / from_hz)
    blocks: list[Samples] = []
    for start in range(0, len(samples), _BLOCK_S * from_hz):
        block = padded[start : start + (_BLOCK_S + 2) * from_hz]
        length = round(len(block) * to_hz / from_hz)
        spectrum = _resize_spectrum(np.fft.rfft(block), length // 2 + 1)
        resampled = np.fft.irfft(spectrum, length)
        body = resampled[to_hz : to_hz + _BLOCK_S * to_hz] * np.float32(length / len(block))
        blocks.append(body.astype(np.float32, copy=False))
    return np.concatenate(blocks)[:count] if blocks else samples


def _resize_spectrum(spectrum: NDArray[np.complex128], bins: int) -> NDArray[np.complex128]:
    if len(spectrum) >= bins:
        return spectrum[:bins]
    return np.concatenate([spectrum, np.zeros(bins - len(spectrum), spectrum.dtype)])

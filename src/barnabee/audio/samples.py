"""Audio samples: mono float32 arrays, their rates, resampling and conversion to 16-bit PCM.

Long audio is split into windows at its quietest moments, without silence.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]  # (n,), mono, in [-1, 1]

STT_RATE_HZ = 16_000  # of speech-to-text and wake word engines
_BLOCK_S = 10
# Attention memory grows with the square of the length; a limit keeps GPU memory independent of the
# request. 30 s is longer than any spoken command.
WINDOW_S = 30
SEARCH_S = 10  # the split is at the quietest frame of a window's last seconds
FRAME_S = 0.1
SILENCE_PEAK = 1e-4  # -80 dBFS; recognisers invent words for anything quieter


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


def split_windows(samples: Samples) -> Iterator[tuple[float, Samples]]:
    """Yield (start in s, samples) of each window of 16 kHz audio that is not silent."""
    start, max_length = 0, WINDOW_S * STT_RATE_HZ
    while start < len(samples):
        end = len(samples)
        if end - start > max_length:
            end = start + _find_quietest(samples[start : start + max_length])
        window = samples[start:end]
        if not is_silent(window):
            yield start / STT_RATE_HZ, window
        start = end


def is_silent(samples: Samples) -> bool:
    return not samples.size or float(np.abs(samples).max()) < SILENCE_PEAK


def _find_quietest(window: Samples) -> int:
    """Return the middle of the quietest frame in the last SEARCH_S of a full window."""
    length = int(FRAME_S * STT_RATE_HZ)
    begin = len(window) - SEARCH_S * STT_RATE_HZ
    frames = window[begin:].reshape(-1, length)
    quietest = int(np.argmin(np.square(frames, dtype=np.float64).sum(axis=1)))
    return begin + quietest * length + length // 2

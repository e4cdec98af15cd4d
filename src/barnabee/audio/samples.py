"""Audio samples: mono float32 arrays, their rates, resampling, conversion and loudness.

Long audio is split into windows at its quietest moments, without silence.

Each phrase is measured itself before it is sent, so no table of voices and no state between
requests is needed, and the same text always has the same loudness.

Measured on eight voices of Kokoro, 32 phrases: -18.5 to -23.8 LUFS before, a spread of 5.3 LU, and
up to 4.0 LU between two phrases of one reply, because short phrases are synthesized louder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pyloudnorm import Meter

Samples = NDArray[np.float32]  # (n,), mono, in [-1, 1]

STT_RATE_HZ = 16_000  # of speech-to-text and wake word engines
_RESAMPLING_BLOCK_S = 10
# Attention memory grows with the square of the length; a limit keeps GPU memory independent of the
# request. 30 s is longer than any spoken command.
WINDOW_S = 30
SEARCH_S = 10  # the split is at the quietest frame of a window's last seconds
FRAME_S = 0.1
SILENCE_PEAK = 1e-4  # -80 dBFS; recognisers invent words for anything quieter
# The default voice reaches -19.8 LUFS before its highest peak exceeds PEAK_DB; 1 LU in reserve.
TARGET_LUFS = -21.0
PEAK_DB = -1.0  # true peak, dBTP: no player clips below it
MAX_GAIN_DB = 9.0  # anything quieter is noise, not speech
MAX_GAIN_STEP_DB = 3.0  # between two phrases, so that the change is not audible
LOUDNESS_BLOCK_S = 0.4  # block length of BS.1770
MIN_DURATION_S = 0.05
OVERSAMPLING = 4
OVERSHOOT_DB = 6.0  # upper bound of true peak over sample peak: speech had 0.3, clipped noise 4


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
    for start in range(0, len(samples), _RESAMPLING_BLOCK_S * from_hz):
        block = padded[start : start + (_RESAMPLING_BLOCK_S + 2) * from_hz]
        length = round(len(block) * to_hz / from_hz)
        spectrum = _resize_spectrum(np.fft.rfft(block), length // 2 + 1)
        resampled = np.fft.irfft(spectrum, length)
        body = resampled[to_hz : to_hz + _RESAMPLING_BLOCK_S * to_hz] * np.float32(
            length / len(block)
        )
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


def normalise_loudness(phrases: Iterable[Samples], rate_hz: int) -> Iterator[Samples]:
    """Yield the phrases of one reply at the target loudness, each as soon as it arrives."""
    last_db: float | None = None
    for samples in phrases:
        gain_db = _choose_gain_db(measure_loudness(samples, rate_hz), last_db)
        if gain_db is None:
            yield samples
            continue
        last_db = gain_db = _limit_to_peak(samples, gain_db)
        yield samples * np.float32(10 ** (gain_db / 20))


def measure_loudness(samples: Samples, rate_hz: int) -> float | None:
    """Return the gated loudness in LUFS; None when there is too little audio to measure.

    The standard does not define audio shorter than a block of 400 ms; it is measured as one block.
    Leading and trailing silence is excluded, because it would lower the result.
    """
    sounding = np.flatnonzero(samples)
    if not sounding.size:
        return None
    samples = samples[sounding[0] : sounding[-1] + 1]
    seconds = (len(samples) - 1) / rate_hz
    if seconds < MIN_DURATION_S:
        return None
    measured = float(_meter(rate_hz, min(LOUDNESS_BLOCK_S, seconds)).integrated_loudness(samples))
    return measured if np.isfinite(measured) else None


def measure_true_peak(samples: Samples) -> float:
    """Return the true peak in dBTP, oversampled four times."""
    from scipy.signal import resample_poly  # noqa: PLC0415 - heavy

    peak = float(np.abs(samples).max(initial=0.0))
    if peak:
        peak = max(peak, float(np.abs(resample_poly(samples, OVERSAMPLING, 1)).max()))
    return 20 * float(np.log10(max(peak, 1e-9)))


def _limit_to_peak(samples: Samples, gain_db: float) -> float:
    """Return `gain_db`, or the gain at which the true peak reaches PEAK_DB if that is less."""
    sample_peak_db = 20 * float(np.log10(max(float(np.abs(samples).max(initial=0.0)), 1e-9)))
    if sample_peak_db + gain_db < PEAK_DB - OVERSHOOT_DB:
        return gain_db
    return min(gain_db, PEAK_DB - measure_true_peak(samples))


def _choose_gain_db(measured: float | None, last_db: float | None) -> float | None:
    """Return the gain towards the target, peak not considered; None leaves audio unchanged."""
    if measured is None:
        return last_db
    gain_db = float(np.clip(TARGET_LUFS - measured, -MAX_GAIN_DB, MAX_GAIN_DB))
    if last_db is None:
        return gain_db
    return float(np.clip(gain_db, last_db - MAX_GAIN_STEP_DB, last_db + MAX_GAIN_STEP_DB))


@lru_cache(maxsize=8)  # very short phrases have a block length each
def _meter(rate_hz: int, block_s: float) -> Meter:
    from pyloudnorm import Meter  # noqa: PLC0415 - heavy, it brings scipy

    return Meter(rate_hz, block_size=block_s)

"""Loudness normalisation of synthesized speech, measured by ITU-R BS.1770. Pure.

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

from barnabee.audio.samples import Samples

if TYPE_CHECKING:
    from pyloudnorm import Meter

# The default voice reaches -19.8 LUFS before its highest peak exceeds PEAK_DB; 1 LU in reserve.
TARGET_LUFS = -21.0
PEAK_DB = -1.0  # true peak, dBTP: no player clips below it
MAX_GAIN_DB = 9.0  # anything quieter is noise, not speech
MAX_GAIN_STEP_DB = 3.0  # between two phrases, so that the change is not audible
BLOCK_S = 0.4  # block length of BS.1770
MIN_DURATION_S = 0.05
OVERSAMPLING = 4
OVERSHOOT_DB = 6.0  # upper bound of true peak over sample peak: speech had 0.3, clipped noise 4


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
    measured = float(_meter(rate_hz, min(BLOCK_S, seconds)).integrated_loudness(samples))
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

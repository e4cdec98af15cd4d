"""One loudness for all that is said, measured by ITU-R BS.1770.

Pure. A phrase is whole before it is sent, so it is measured itself and nothing has to be known
beforehand: no table of voices, no state between requests, and the same text sounds the same twice.

Measured on eight voices of Kokoro, 32 phrases: -18.5 to -23.8 LUFS before, which is 5.3 LU apart,
and up to 4.0 LU between two phrases of one answer, because a short phrase is spoken louder.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from barnabee.gpu.engines.protocols import Samples

if TYPE_CHECKING:
    from pyloudnorm import Meter

# The house's voice reaches -19.8 LUFS before its sharpest peak would pass PEAK_DB; 1 LU in reserve.
TARGET_LUFS = -21.0
PEAK_DB = -1.0  # true peak, dBTP: what every player still plays without clipping
GAIN_MAX_DB = 9.0  # what needs more is no speech, and would be blown up noise
STEP_MAX_DB = 3.0  # between two phrases: a listener shall not hear the gain move
BLOCK_S = 0.4  # what BS.1770 measures in
SHORTEST_S = 0.05
OVERSAMPLING = 4
OVERSHOOT_DB = 6.0  # of a true peak above the samples: speech had 0.3 at most, clipped noise 4


def even(phrases: Iterable[Samples], rate_hz: int) -> Iterator[Samples]:
    """Yield the phrases of one answer at the target loudness, each as soon as it comes."""
    last_db: float | None = None
    for samples in phrases:
        gain_db = _gain(loudness(samples, rate_hz), last_db)
        if gain_db is None:
            yield samples
            continue
        last_db = gain_db = min(gain_db, _room(samples, gain_db))
        yield samples * np.float32(10 ** (gain_db / 20))


def loudness(samples: Samples, rate_hz: int) -> float | None:
    """Return the gated loudness in LUFS; None where there is nothing to measure.

    Below one block of 400 ms the standard says nothing; such a sound is one block as it is. Pauses
    before and after do not count: where one is part of a block it would make a phrase softer.
    """
    sounding = np.flatnonzero(samples)
    if not sounding.size:
        return None
    samples = samples[sounding[0] : sounding[-1] + 1]
    seconds = (len(samples) - 1) / rate_hz
    if seconds < SHORTEST_S:
        return None
    measured = float(_meter(rate_hz, min(BLOCK_S, seconds)).integrated_loudness(samples))
    return measured if np.isfinite(measured) else None


def true_peak(samples: Samples) -> float:
    """Return the peak between the samples too, in dBTP (four times oversampled)."""
    from scipy.signal import resample_poly  # noqa: PLC0415 - heavy

    peak = float(np.abs(samples).max(initial=0.0))
    if peak:
        peak = max(peak, float(np.abs(resample_poly(samples, OVERSAMPLING, 1)).max()))
    return 20 * float(np.log10(max(peak, 1e-9)))


def _room(samples: Samples, gain_db: float) -> float:
    """Return the gain that takes the true peak to PEAK_DB; not measured where it is far away."""
    sample_peak_db = 20 * float(np.log10(max(float(np.abs(samples).max(initial=0.0)), 1e-9)))
    if sample_peak_db + gain_db < PEAK_DB - OVERSHOOT_DB:
        return gain_db
    return PEAK_DB - true_peak(samples)


def _gain(measured: float | None, last_db: float | None) -> float | None:
    """Return the gain in dB before the peak is looked at; None leaves a sound as it is."""
    if measured is None:
        return last_db
    wanted = float(np.clip(TARGET_LUFS - measured, -GAIN_MAX_DB, GAIN_MAX_DB))
    if last_db is None:
        return wanted
    return float(np.clip(wanted, last_db - STEP_MAX_DB, last_db + STEP_MAX_DB))


@lru_cache(maxsize=8)  # one for each length of a very short phrase would be too many
def _meter(rate_hz: int, block_s: float) -> Meter:
    from pyloudnorm import Meter  # noqa: PLC0415 - heavy, it brings scipy

    return Meter(rate_hz, block_size=block_s)

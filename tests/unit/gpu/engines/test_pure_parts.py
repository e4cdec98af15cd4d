"""The arithmetic of the engines, without their models."""

from __future__ import annotations

import numpy as np
import pytest

from barnabee.gpu.engines.kokoro_speaker import accent_of, mix
from barnabee.gpu.engines.minilm import pool


def test_a_blend_is_the_mean_of_its_voices_by_weight() -> None:
    low, high = np.zeros((510, 1, 256), np.float32), np.full((510, 1, 256), 10, np.float32)
    blend = mix({"low": low, "high": high}, {"low": 60, "high": 40})
    assert (blend.shape, blend.dtype) == ((510, 1, 256), np.float32)
    np.testing.assert_allclose(blend, 4, atol=1e-5)
    np.testing.assert_allclose(mix({"high": high}, {"high": 100}), high)


@pytest.mark.parametrize(
    ("voice", "accent"), [("bm_george", "en-gb"), ("bf_emma", "en-gb"), ("am_michael", "en-us")]
)
def test_a_stock_voice_keeps_its_accent(voice: str, accent: str) -> None:
    assert accent_of(voice) == accent


def test_padding_does_not_count_in_a_mean() -> None:
    hidden = np.array([[[3.0, 4.0], [3.0, 4.0], [99.0, -99.0]]], np.float32)
    got = pool(hidden, np.array([[1, 1, 0]]))
    np.testing.assert_allclose(got, [[0.6, 0.8]], atol=1e-6)


def test_an_empty_mask_is_no_division_by_zero() -> None:
    assert np.isfinite(pool(np.ones((1, 2, 4), np.float32), np.zeros((1, 2), np.int64))).all()

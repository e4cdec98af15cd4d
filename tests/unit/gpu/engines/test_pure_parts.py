"""Pure functions of the Kokoro and MiniLM engines."""

from __future__ import annotations

import numpy as np
import pytest

from barnabee.gpu.engines.kokoro import find_accent, mix_voices, split_at_words
from barnabee.gpu.engines.minilm import mean_pool


def test_blend_is_the_weighted_mean_of_its_voices() -> None:
    low, high = np.zeros((510, 1, 256), np.float32), np.full((510, 1, 256), 10, np.float32)
    blend = mix_voices({"low": low, "high": high}, {"low": 60, "high": 40})
    assert (blend.shape, blend.dtype) == ((510, 1, 256), np.float32)
    np.testing.assert_allclose(blend, 4, atol=1e-5)
    np.testing.assert_allclose(mix_voices({"high": high}, {"high": 100}), high)


@pytest.mark.parametrize(
    ("voice", "accent"), [("bm_george", "en-gb"), ("bf_emma", "en-gb"), ("am_michael", "en-us")]
)
def test_accent_of_stock_voices(voice: str, accent: str) -> None:
    assert find_accent(voice) == accent


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("Mmhmm", ["Mmhmm"]),
        ("mmhmm, sure. MMHMM!", ["mmhmm", ", sure.", "MMHMM", "!"]),
        ("Mmhmmm is another word", ["Mmhmmm is another word"]),
        ("a non-mmhmm and mmhmm's", ["a non-mmhmm and mmhmm's"]),
        ("", []),
    ],
)
def test_text_is_split_at_whole_words(text: str, parts: list[str]) -> None:
    assert split_at_words(text, {"mmhmm"}) == parts


def test_text_is_not_split_without_words() -> None:
    assert split_at_words("Mmhmm, sure.", ()) == ["Mmhmm, sure."]


def test_mean_pool_ignores_padding() -> None:
    hidden = np.array([[[3.0, 4.0], [3.0, 4.0], [99.0, -99.0]]], np.float32)
    got = mean_pool(hidden, np.array([[1, 1, 0]]))
    np.testing.assert_allclose(got, [[0.6, 0.8]], atol=1e-6)


def test_mean_pool_of_an_empty_mask_is_finite() -> None:
    assert np.isfinite(mean_pool(np.ones((1, 2, 4), np.float32), np.zeros((1, 2), np.int64))).all()

"""200 sentences of real kinds, spoken by Kokoro and read back by Whisper."""

from __future__ import annotations

import httpx
import pytest

from support.benchmark import choose_size, is_at_most
from support.read_back import MAX_WORD_ERROR_RATE, measure_word_error_rate, read_sentences


@pytest.mark.timeout(7200)
def test_spoken_sentences_are_understood(http: httpx.Client) -> None:
    sentences = read_sentences()
    assert len(sentences) == 200
    rate = measure_word_error_rate(http, sentences[:: choose_size(1, 50)])
    assert is_at_most(rate, MAX_WORD_ERROR_RATE)

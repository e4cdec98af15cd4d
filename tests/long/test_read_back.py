"""What Kokoro says is read back by Whisper: a sample of tests/bench/test_read_back.py."""

from __future__ import annotations

import httpx
import pytest

from support.read_back import MAX_WORD_ERROR_RATE, measure_word_error_rate, read_sentences


@pytest.mark.timeout(1800)
def test_spoken_sentences_are_understood(http: httpx.Client) -> None:
    sample = read_sentences()[::10]
    assert len(sample) == 20
    assert measure_word_error_rate(http, sample) <= MAX_WORD_ERROR_RATE

"""Accuracy of the default wake word; tests/bench/test_wake_accuracy.py measures all of them."""

from __future__ import annotations

import numpy as np
import pytest

from support import wake_corpus as corpus
from support.wake_accuracy import (
    CONDITIONS,
    GRAPH,
    LEAST,
    make_meter,
    make_speaker,
    measure_detection,
)
from support.wake_corpus import CALLS, pad_with_silence

WORD = "hey_jarvis"
CHECKED = ("quiet", "babble 10 dB")

pytestmark = pytest.mark.timeout(1800)  # the first run synthesizes the sentences


@pytest.mark.parametrize("condition", CHECKED)
def test_calls_are_detected_across_voices_and_speeds(condition: str) -> None:
    speaker = make_speaker()
    crowd = list(speaker.others(corpus.TELEVISION[:6], 2))
    share, delay_ms = measure_detection(make_meter(), speaker, WORD, condition, crowd)
    print(f"{WORD} {condition}: {share:.1%} woke, {delay_ms:.0f} ms after the clip")
    assert share >= LEAST[WORD][CONDITIONS.index(condition)]


def test_a_television_seldom_triggers() -> None:
    spoken = [pad_with_silence(part) for part in make_speaker().others(corpus.TELEVISION)]
    found = make_meter().detect(np.concatenate(spoken), CALLS, GRAPH.threshold_permille)
    assert sum(wake.word == WORD for wake in found) <= 1
    assert len(found) <= 2

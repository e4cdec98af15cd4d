"""Accuracy of all wake words across voices, speeds and noise.

The first run synthesizes the corpus, ten minutes on one core, and keeps it in the cache folder.
docs/reference/wake.md has the figures from which the limits are derived.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from barnabee.gpu.wake_session import FRAME_MS
from support import wake_corpus as corpus
from support.benchmark import choose_size, is_at_least, is_at_most
from support.wake_accuracy import (
    CONDITIONS,
    GRAPH,
    LEAST,
    AccuracyMeter,
    in_rooms,
    make_meter,
    make_speaker,
    measure_detection,
)
from support.wake_corpus import CALLS, CorpusSpeaker, Pcm, pad_with_silence

pytestmark = pytest.mark.timeout(1800)

WORDS = choose_size(sorted(CALLS), ["hey_jarvis"])
SPOKEN = choose_size(corpus.TELEVISION, corpus.TELEVISION[:2])
SIMILAR = choose_size(corpus.NEAR, corpus.NEAR[:2])
MOST_NEAR = {500: 24, 700: 22, 900: 20}  # of 192 sounds, hey_jarvis; measured 18, 17 and 11


@pytest.fixture(scope="module")
def meter() -> AccuracyMeter:
    return make_meter()


@pytest.fixture(scope="module")
def speaker() -> CorpusSpeaker:
    return make_speaker()


@pytest.fixture(scope="module")
def television(speaker: CorpusSpeaker) -> list[Pcm]:
    return list(speaker.others(SPOKEN, 2))


@pytest.mark.parametrize("word", WORDS)
def test_calls_are_detected_across_voices_speeds_and_noise(
    meter: AccuracyMeter, speaker: CorpusSpeaker, television: list[Pcm], word: str
) -> None:
    too_few = {}
    for condition, least in list(zip(CONDITIONS, LEAST[word], strict=True))[: choose_size(5, 1)]:
        share, delay_ms = measure_detection(meter, speaker, word, condition, television)
        print(f"{word:12} {condition:13} {share:6.1%} woke, {delay_ms:5.0f} ms after the clip")
        if not is_at_least(share, least):
            too_few[condition] = share
    assert not too_few


def test_a_television_seldom_triggers(meter: AccuracyMeter, television: list[Pcm]) -> None:
    whole = np.concatenate(
        [pad_with_silence(part, before_s=0.3, after_s=0.3) for part in television]
    )
    found, frames = dict.fromkeys(sorted(CALLS), 0), 0
    for sound in in_rooms(whole, television):
        frames += len(sound) // 1280
        for wake in meter.detect(sound, CALLS, GRAPH.threshold_permille):
            found[wake.word] += 1
    hours = frames * FRAME_MS / 3_600_000
    print(f"television: {found} in {hours * 60:.0f} min, {sum(found.values()) / hours:.1f} an hour")
    assert is_at_most(found["hey_jarvis"], 1)
    assert is_at_most(sum(found.values()), 6)


def test_similar_words_seldom_trigger(meter: AccuracyMeter, speaker: CorpusSpeaker) -> None:
    near = list(speaker.others(SIMILAR, 2))
    texts = [sentence for sentence in SIMILAR for _ in range(2)]
    sounds = [
        (text, meter.best_scores(sound))
        for text, said in zip(texts, near, strict=True)
        for sound in in_rooms(pad_with_silence(said), near)
    ]
    for permille, most in MOST_NEAR.items():
        woke = {
            word: Counter(text for text, scores in sounds if scores[word] * 1000 >= permille)
            for word in sorted(CALLS)
        }
        for word, by in woke.items():
            print(f"near misses at {permille}: {word} {by.total()} of {len(sounds)}: {dict(by)}")
        assert is_at_most(woke["hey_jarvis"].total(), most)

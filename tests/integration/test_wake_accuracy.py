"""Accuracy of the real wake word models on speech of the real Kokoro. Takes minutes.

The first run synthesizes the corpus, ten minutes on one core, and keeps it in the cache folder.
docs/reference/wake.md has the figures from which the limits are derived.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import pytest

from barnabee.core import system
from barnabee.gpu.engines.wakeword import OpenWakeWord
from barnabee.gpu.wake_session import FRAME_MS, WakeDetection, WakeDetector, WakeRequest
from support import wake_corpus as corpus
from support.gpu import find_models_dir
from support.wake_corpus import CALLS, CorpusSpeaker, Pcm, add_echo, add_noise, pad_with_silence

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]

GRAPH = system.load_system().wake
CONDITIONS = ("quiet", "echo", "hiss 10 dB", "babble 10 dB", "faint")
# Limits are 3 % (one call in 36) below the measurement: Kokoro differs slightly between machines.
LEAST = {
    "alexa": (0.9, 0.9, 0.8, 0.68, 0.9),
    "hey_jarvis": (0.9, 0.9, 0.9, 0.88, 0.9),
    "hey_marvin": (0.94, 0.94, 0.94, 0.86, 0.94),
    "hey_mycroft": (0.94, 0.4, 0.32, 0.53, 0.94),
}
MOST_NEAR = {500: 24, 700: 22, 900: 20}  # of 192 sounds, hey_jarvis; measured 18, 17 and 11


@dataclass
class AccuracyMeter:
    """Runs the real engine over whole recordings."""

    engine: OpenWakeWord

    def detect(self, sound: Pcm, words: Iterable[str], permille: int) -> list[WakeDetection]:
        """Return the detections in `sound`."""
        chosen = tuple(words)
        detector = WakeDetector(WakeRequest("", "other", chosen, permille, GRAPH.pause_ms))
        stream = self.engine.open_stream(chosen)
        frames = sound[: len(sound) // 1280 * 1280].reshape(-1, 1280)
        results = (detector.process(stream.score_frame(frame)) for frame in frames)
        return [detection for detection in results if detection]

    def best_scores(self, sound: Pcm) -> dict[str, float]:
        """Return the best score of each word in `sound`."""
        stream = self.engine.open_stream(self.engine.words)
        frames = sound[: len(sound) // 1280 * 1280].reshape(-1, 1280)
        scores = [stream.score_frame(frame) for frame in frames]
        return {word: max(score[word] for score in scores) for word in self.engine.words}


@pytest.fixture(scope="module")
def meter() -> AccuracyMeter:
    return AccuracyMeter(OpenWakeWord.load(find_models_dir() / "openwakeword", GRAPH.words))


@pytest.fixture(scope="module")
def speaker() -> CorpusSpeaker:
    folder = find_models_dir()
    return CorpusSpeaker(folder, folder.parent / "wake-corpus")


@pytest.fixture(scope="module")
def television(speaker: CorpusSpeaker) -> list[Pcm]:
    return list(speaker.others(corpus.TELEVISION, 2))


def degrade(sound: Pcm, condition: str, crowd: list[Pcm]) -> Pcm:
    kind, _, level = condition.partition(" ")
    seconds = len(sound) / corpus.RATE_HZ
    if kind == "echo":
        return add_echo(sound)
    if kind == "faint":
        return (sound // 30).astype(np.int16)  # -30 dB: from across the room
    if kind == "hiss":
        return add_noise(sound, corpus.make_pink_noise(seconds), float(level.split()[0]))
    if kind == "babble":
        noise = corpus.make_babble(crowd[:12], seconds)
        return add_noise(sound, noise, float(level.split()[0]))
    return sound


def measure_detection(
    meter: AccuracyMeter, speaker: CorpusSpeaker, word: str, condition: str, crowd: list[Pcm]
) -> tuple[float, float]:
    """Return the share of detected calls and the median delay after the clip's end in ms."""
    delays, count = [], 0
    for call in speaker.calls(word):
        sound = degrade(pad_with_silence(call), condition, crowd)
        wakes = meter.detect(sound, [word], GRAPH.threshold_permille)
        count += 1
        if wakes:
            delays.append(wakes[0].at_ms - 1500 - len(call) * 1000 / corpus.RATE_HZ)
    return len(delays) / count, float(np.median(delays)) if delays else float("nan")


@pytest.mark.parametrize("word", sorted(CALLS))
def test_calls_are_detected_across_voices_speeds_and_noise(
    meter: AccuracyMeter, speaker: CorpusSpeaker, television: list[Pcm], word: str
) -> None:
    too_few = {}
    for condition, least in zip(CONDITIONS, LEAST[word], strict=True):
        share, delay_ms = measure_detection(meter, speaker, word, condition, television)
        print(f"{word:12} {condition:13} {share:6.1%} woke, {delay_ms:5.0f} ms after the clip")
        if share < least:
            too_few[condition] = share
    assert not too_few


def in_rooms(sound: Pcm, crowd: list[Pcm]) -> Iterator[Pcm]:
    """Yield the sound under several room conditions."""
    for condition in ("quiet", "echo", "hiss 10 dB", "faint"):
        yield degrade(sound, condition, crowd)


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
    assert found["hey_jarvis"] <= 1
    assert sum(found.values()) <= 6


def test_similar_words_seldom_trigger(meter: AccuracyMeter, speaker: CorpusSpeaker) -> None:
    near = list(speaker.others(corpus.NEAR, 2))
    texts = [sentence for sentence in corpus.NEAR for _ in range(2)]
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
        assert woke["hey_jarvis"].total() <= most

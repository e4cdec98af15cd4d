"""Accuracy of the real wake word models on speech of the real Kokoro."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from barnabee.core import system
from barnabee.gpu.engines.wakeword import OpenWakeWord
from barnabee.gpu.wake_session import WakeDetection, WakeDetector, WakeRequest
from support import wake_corpus as corpus
from support.gpu import find_models_dir
from support.wake_corpus import CorpusSpeaker, Pcm, add_echo, add_noise, pad_with_silence

GRAPH = system.load_system().wake
CONDITIONS = ("quiet", "echo", "hiss 10 dB", "babble 10 dB", "faint")
# Limits are 3 % (one call in 36) below the measurement: Kokoro differs slightly between machines.
LEAST = {
    "alexa": (0.9, 0.9, 0.8, 0.68, 0.9),
    "hey_jarvis": (0.9, 0.9, 0.9, 0.88, 0.9),
    "hey_marvin": (0.94, 0.94, 0.94, 0.86, 0.94),
    "hey_mycroft": (0.94, 0.4, 0.32, 0.53, 0.94),
}


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


def make_meter() -> AccuracyMeter:
    return AccuracyMeter(OpenWakeWord.load(find_models_dir() / "openwakeword", GRAPH.words))


def make_speaker() -> CorpusSpeaker:
    folder = find_models_dir()
    return CorpusSpeaker(folder, folder.parent / "wake-corpus")


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


def in_rooms(sound: Pcm, crowd: list[Pcm]) -> Iterator[Pcm]:
    """Yield the sound under several room conditions."""
    for condition in ("quiet", "echo", "hiss 10 dB", "faint"):
        yield degrade(sound, condition, crowd)

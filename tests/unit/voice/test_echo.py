"""Echo detection with recordings of real speech."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from barnabee.voice.playback import EchoDetector, measure_echo_share

AUDIO = Path(__file__).resolve().parents[2] / "audio"
WINDOW = 512


def speech(name: str) -> NDArray[np.float32]:
    with wave.open(str(AUDIO / f"{name}.wav"), "rb") as file:
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    return np.asarray(samples / 32768, np.float32)


OURS = speech("what_can_you_do_bm_george")
THEIRS = speech("kitchen_light_af_heart")


def shares(
    echo_db: float, delay_s: float, other: NDArray[np.float32] | None = None
) -> NDArray[np.float64]:
    """Return the echo share of each loud window, with OURS as a delayed and attenuated echo."""
    delay = int(delay_s * 16_000)
    recorded = np.concatenate((np.zeros(delay, np.float32), OURS * 10 ** (echo_db / 20)))
    if other is not None:
        recorded[: len(other)] += other[: len(recorded)]
    echo, found = EchoDetector(), []
    for start in range(0, len(recorded) - WINDOW, WINDOW):
        echo.add_playback(OURS[start : start + WINDOW])
        echo.add_recorded(recorded[start : start + WINDOW].astype(np.float32))
        if np.sqrt(np.mean(np.square(recorded[start : start + WINDOW]))) > 0.01:
            found.append(echo.measure_share())
    return np.array(found)


@pytest.mark.parametrize("echo_db", [-6, -20])
@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.3, 0.6])
def test_echo_is_recognized_at_any_level_and_delay(echo_db: float, delay_s: float) -> None:
    found = shares(echo_db, delay_s)
    assert len(found) > 10
    print(echo_db, delay_s, np.round(np.percentile(found, [0, 5, 50]), 2))
    assert np.percentile(found, 5) > 0.9


def test_speech_over_the_echo_lowers_the_share() -> None:
    found = shares(-20, 0.1, THEIRS)
    print(np.round(np.percentile(found, [50, 80, 95, 100]), 2))
    assert np.mean(found < 0.5) > 0.8


def test_unrelated_speech_is_not_taken_for_echo() -> None:
    worst = [
        measure_echo_share(OURS[:16_000], THEIRS[start : start + 2048])
        for start in range(0, len(THEIRS) - 2048, 1024)
    ]
    print(np.round(np.percentile(worst, [50, 80, 100]), 2))
    assert np.mean(np.array(worst) < 0.5) > 0.9


def test_silence_is_no_echo() -> None:
    echo = EchoDetector()
    echo.add_recorded(np.zeros(WINDOW, np.float32))
    assert not echo.is_echo_possible
    assert echo.measure_share() == 0
    echo.add_playback(OURS[:WINDOW])
    assert echo.is_echo_possible
    assert echo.measure_share() == 0

"""Filler recordings made with the real engine and transcribed with Whisper."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyloudnorm
import pytest

from barnabee.audio.samples import resample
from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.whisper import Whisper
from barnabee.voice import fillers
from barnabee.voice.fillers import Clip
from support.gpu import find_models_dir, make_models_environment

SCRIPT = Path(__file__).parents[2] / "scripts" / "generate_fillers.py"
# "Mmhmm" is no word, and whisper-base transcribes "got it" as "god it".
NOT_CHECKED = {"acknowledgment_0", "acknowledgment_1"}


def run(folder: Path) -> str:
    result = subprocess.run(
        [sys.executable, str(SCRIPT), "--out", str(folder)],
        env=make_models_environment(),
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("fillers")
    assert "15 recorded, 0 unchanged" in run(directory)
    return directory


def to_samples(clip: Clip) -> np.ndarray:
    return np.frombuffer(clip.pcm, "<i2").astype(np.float32) / 32768


@pytest.mark.timeout(600)
def test_every_phrase_is_transcribed_word_for_word(folder: Path) -> None:
    whisper = Whisper.load(find_models_dir() / "whisper-base", device=Device("cpu", 2))
    wrong = {}
    for clips in fillers.load_recordings(folder).values():
        for clip in clips:
            sound = resample(to_samples(clip), clip.rate_hz, 16_000)
            transcript = "".join(
                segment.text for segment in whisper.transcribe(sound, language="en")
            )
            if clip.name not in NOT_CHECKED and normalize(transcript) != normalize(clip.text):
                wrong[clip.text] = transcript
    assert not wrong


@pytest.mark.timeout(600)
def test_recordings_have_equal_loudness_and_no_silence_around_them(folder: Path) -> None:
    meter = pyloudnorm.Meter(24_000)
    loud = {}
    for clips in fillers.load_recordings(folder).values():
        for clip in clips:
            sound = to_samples(clip)
            long = np.tile(sound, -(-24_000 // len(sound)))  # the measurement needs 0.4 s or more
            loud[clip.name] = meter.integrated_loudness(long)
            assert 0.3 < clip.duration_s < 5, clip.name
            assert np.abs(sound[: 24_000 // 10]).max() > 0.01, f"{clip.name} begins with silence"
    print(f"\n{min(loud.values()):.1f} to {max(loud.values()):.1f} LUFS")
    assert max(loud.values()) - min(loud.values()) < 2


@pytest.mark.timeout(600)
def test_second_run_records_nothing_and_output_is_reproducible(
    folder: Path, tmp_path: Path
) -> None:
    assert "0 recorded, 15 unchanged" in run(folder)
    assert "15 recorded" in run(tmp_path)
    for path in folder.iterdir():
        assert path.read_bytes() == (tmp_path / path.name).read_bytes(), path.name


def normalize(text: str) -> str:
    return re.sub(r"[^a-z ]", "", text.lower()).strip()

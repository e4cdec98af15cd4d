"""The wake word engine with the real models, held against the library they come from."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest
from numpy.typing import NDArray

from barnabee.audio import wav
from barnabee.core import manifest
from barnabee.core.errors import Misconfigured, ModelDamaged, ModelMissing
from barnabee.gpu.engines.wakeword import DEAF_FRAMES, Ear, WakeWord
from support.gpu import models_dir

ROOT = Path(__file__).parents[4]
AUDIO = ROOT / "tests" / "audio"
WORDS = ("alexa", "hey_jarvis", "hey_marvin", "hey_mycroft")
CALLS = sorted((AUDIO / "wake").glob("*.wav"))


@pytest.fixture(scope="module")
def engine() -> WakeWord:
    return WakeWord.load(models_dir() / "openwakeword", ["hey_jarvis"])


def recording(path: Path) -> NDArray[np.int16]:
    """Return a recording in 1.5 s of silence on each side, in whole frames."""
    sound = wav.decode(wav.parse(path.read_bytes(), max_s=60), 16_000)
    quiet = np.zeros(24_000, np.int16)
    said = np.concatenate([quiet, np.frombuffer(wav.pcm16(sound), np.int16), quiet])
    return said[: len(said) // 1280 * 1280]


def frames(sound: NDArray[np.int16]) -> Iterator[NDArray[np.int16]]:
    return iter(sound.reshape(-1, 1280))


def best(ear: Ear, sound: NDArray[np.int16]) -> dict[str, float]:
    scores = [ear.hear(frame) for frame in frames(sound)]
    return {word: max(score[word] for score in scores) for word in scores[0]}


@pytest.mark.parametrize("path", CALLS, ids=lambda path: path.stem)
def test_a_call_is_heard_as_its_own_word_alone(engine: WakeWord, path: Path) -> None:
    called = path.stem.rsplit("_", 2)[0]
    found = best(engine.listener(WORDS), recording(path))
    assert found.pop(called) > 0.9
    assert max(found.values()) < 0.5  # "Hey Jarvis" is 0.45 of a "Hey Marvin"


def test_there_are_recordings() -> None:
    assert len(CALLS) == 4


@pytest.mark.parametrize("path", sorted(AUDIO.glob("*.wav")), ids=lambda path: path.stem)
def test_a_question_is_no_call(engine: WakeWord, path: Path) -> None:
    assert max(best(engine.listener(WORDS), recording(path)).values()) < 0.1


def test_the_scores_are_those_of_the_library(engine: WakeWord) -> None:
    import openwakeword  # noqa: PLC0415 - three seconds

    folder = models_dir() / "openwakeword"
    theirs = openwakeword.Model(
        [str(folder / f"{word}.onnx") for word in WORDS],
        inference_framework="onnx",
        melspec_model_path=str(folder / "melspectrogram.onnx"),
        embedding_model_path=str(folder / "embedding_model.onnx"),
    )
    theirs.preprocessor.feature_buffer = engine.before.copy()  # theirs is made of chance
    ours = engine.listener(WORDS)
    noise = np.random.default_rng(3).integers(-3000, 3000, 32_000, np.int16)
    for sound in (*(recording(path) for path in CALLS), noise):
        for frame in frames(sound):
            expected, got = theirs.predict(frame), ours.hear(frame)
            assert got == pytest.approx({word: float(expected[word]) for word in WORDS}, abs=1e-4)


def test_two_ears_that_hear_in_turn_hear_what_each_would_alone(engine: WakeWord) -> None:
    one, two = (recording(path) for path in CALLS[:2])
    size = min(len(one), len(two))
    alone = [
        [engine_ear.hear(frame) for frame in frames(sound[:size])]
        for sound, engine_ear in ((one, engine.listener(WORDS)), (two, engine.listener(WORDS)))
    ]
    ears = engine.listener(WORDS), engine.listener(WORDS)
    mixed = [
        (ears[0].hear(a), ears[1].hear(b))
        for a, b in zip(frames(one[:size]), frames(two[:size]), strict=True)
    ]
    assert [a for a, _ in mixed] == alone[0]
    assert [b for _, b in mixed] == alone[1]


def test_a_fresh_ear_wakes_at_nothing(engine: WakeWord) -> None:
    """What stands in its buffers before it has heard two seconds is noise, not a word."""
    rng = np.random.default_rng(1)
    loud = [rng.integers(-amount, amount + 1, 40 * 1280) for amount in (0, 30, 3000, 32_000)]
    for sound in loud:
        assert max(best(engine.listener(WORDS), sound.astype(np.int16)).values()) < 0.3


def test_the_first_frames_are_not_judged(engine: WakeWord) -> None:
    ear = engine.listener(["alexa"])
    first = [ear.hear(np.zeros(1280, np.int16))["alexa"] for _ in range(DEAF_FRAMES + 1)]
    assert first[:DEAF_FRAMES] == [0.0] * DEAF_FRAMES
    assert first[DEAF_FRAMES] > 0


def test_an_ear_hears_only_the_words_it_was_asked_for(engine: WakeWord) -> None:
    assert set(best(engine.listener(["alexa"]), recording(CALLS[0]))) == {"alexa"}


def test_ears_take_hardly_any_memory(engine: WakeWord) -> None:
    process = psutil.Process()
    sound = np.zeros(8 * 1280, np.int16)
    best(engine.listener(WORDS), sound)
    before = process.memory_info().rss
    ears = [engine.listener(WORDS) for _ in range(50)]
    for ear in ears:
        best(ear, sound)
    assert (process.memory_info().rss - before) / 2**20 < 10  # 50 of the library's: 1700 MiB


def test_a_word_that_no_model_knows_is_named_with_those_there_are() -> None:
    said = r"wake\.words in system\.toml names hey_barnabee, .* alexa, hey_jarvis, hey_marvin"
    with pytest.raises(Misconfigured, match=said):
        WakeWord.load(models_dir() / "openwakeword", ["hey_jarvis", "hey_barnabee"])


def test_files_that_are_not_whole_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="barnabee models fetch"):
        WakeWord.load(tmp_path / "openwakeword", ["alexa"])
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / manifest.NAME).write_text(manifest.text({}))
    with pytest.raises(ModelDamaged, match=r"melspectrogram\.onnx"):
        WakeWord.load(folder, ["alexa"])
    for file in (models_dir() / "openwakeword").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "alexa.onnx").write_bytes(b"x")
    with pytest.raises(ModelDamaged, match=r"alexa\.onnx"):
        WakeWord.load(folder, ["alexa"])


def test_the_library_is_not_imported_to_listen() -> None:
    """It costs 3 s and 101 MiB, and would fetch models of its own accord."""
    script = (
        "import sys; from pathlib import Path; from barnabee.gpu.engines.wakeword import WakeWord;"
        f"WakeWord.load(Path({str(models_dir() / 'openwakeword')!r}), ['alexa']).warm_up();"
        "print(sorted({'openwakeword', 'sklearn', 'requests', 'torch'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

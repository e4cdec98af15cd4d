"""Wake word engine with the real models, compared with recorded scores of openwakeword."""

from __future__ import annotations

import json
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
from barnabee.audio.samples import to_pcm16
from barnabee.core import manifest
from barnabee.core.errors import Misconfigured, ModelDamaged, ModelMissing
from barnabee.gpu.engines.wakeword import WARM_UP_FRAMES, OpenWakeWord, OpenWakeWordStream
from support.gpu import find_models_dir

ROOT = Path(__file__).parents[4]
AUDIO = ROOT / "tests" / "audio"
WORDS = ("alexa", "hey_jarvis", "hey_marvin", "hey_mycroft")
CALLS = sorted((AUDIO / "wake").glob("*.wav"))


@pytest.fixture(scope="module")
def engine() -> OpenWakeWord:
    return OpenWakeWord.load(find_models_dir() / "openwakeword", ["hey_jarvis"])


def recording(path: Path) -> NDArray[np.int16]:
    """Return a recording with 1.5 s of silence on each side, in whole frames."""
    sound = wav.decode(wav.parse(path.read_bytes(), max_s=60), 16_000)
    quiet = np.zeros(24_000, np.int16)
    said = np.concatenate([quiet, np.frombuffer(to_pcm16(sound), np.int16), quiet])
    return said[: len(said) // 1280 * 1280]


def frames(sound: NDArray[np.int16]) -> Iterator[NDArray[np.int16]]:
    return iter(sound.reshape(-1, 1280))


def max_scores(stream: OpenWakeWordStream, sound: NDArray[np.int16]) -> dict[str, float]:
    scores = [stream.score_frame(frame) for frame in frames(sound)]
    return {word: max(score[word] for score in scores) for word in scores[0]}


@pytest.mark.parametrize("path", CALLS, ids=lambda path: path.stem)
def test_recording_is_detected_as_its_own_word_only(engine: OpenWakeWord, path: Path) -> None:
    called = path.stem.rsplit("_", 2)[0]
    found = max_scores(engine.open_stream(WORDS), recording(path))
    assert found.pop(called) > 0.9
    assert max(found.values()) < 0.5  # "Hey Jarvis" is 0.45 of a "Hey Marvin"


def test_recordings_exist() -> None:
    assert len(CALLS) == 4


@pytest.mark.parametrize("path", sorted(AUDIO.glob("*.wav")), ids=lambda path: path.stem)
def test_question_is_not_detected(engine: OpenWakeWord, path: Path) -> None:
    assert max(max_scores(engine.open_stream(WORDS), recording(path)).values()) < 0.1


def test_scores_equal_those_of_openwakeword(engine: OpenWakeWord) -> None:
    reference = json.loads((ROOT / "tests" / "data" / "openwakeword_scores.json").read_text())
    noise = np.random.default_rng(3).integers(-3000, 3000, 32_000, np.int16)
    sounds = {path.stem: recording(path) for path in CALLS} | {"noise": noise}
    assert list(sounds) == list(reference["scores"]), "one stream hears them in this order"
    stream = engine.open_stream(WORDS)
    for name, sound in sounds.items():
        for frame, scores in zip(frames(sound), reference["scores"][name], strict=True):
            expected = dict(zip(reference["words"], scores, strict=True))
            assert stream.score_frame(frame) == pytest.approx(expected, abs=1e-4)


def test_interleaved_streams_are_independent(engine: OpenWakeWord) -> None:
    one, two = (recording(path) for path in CALLS[:2])
    size = min(len(one), len(two))
    alone = [
        [stream.score_frame(frame) for frame in frames(sound[:size])]
        for sound, stream in ((one, engine.open_stream(WORDS)), (two, engine.open_stream(WORDS)))
    ]
    streams = engine.open_stream(WORDS), engine.open_stream(WORDS)
    mixed = [
        (streams[0].score_frame(a), streams[1].score_frame(b))
        for a, b in zip(frames(one[:size]), frames(two[:size]), strict=True)
    ]
    assert [a for a, _ in mixed] == alone[0]
    assert [b for _, b in mixed] == alone[1]


def test_new_stream_detects_nothing_in_noise(engine: OpenWakeWord) -> None:
    rng = np.random.default_rng(1)
    loud = [rng.integers(-amount, amount + 1, 40 * 1280) for amount in (0, 30, 3000, 32_000)]
    for sound in loud:
        assert max(max_scores(engine.open_stream(WORDS), sound.astype(np.int16)).values()) < 0.3


def test_first_frames_score_zero(engine: OpenWakeWord) -> None:
    stream = engine.open_stream(["alexa"])
    first = [
        stream.score_frame(np.zeros(1280, np.int16))["alexa"] for _ in range(WARM_UP_FRAMES + 1)
    ]
    assert first[:WARM_UP_FRAMES] == [0.0] * WARM_UP_FRAMES
    assert first[WARM_UP_FRAMES] > 0


def test_stream_scores_only_the_requested_words(engine: OpenWakeWord) -> None:
    assert set(max_scores(engine.open_stream(["alexa"]), recording(CALLS[0]))) == {"alexa"}


def test_streams_take_little_memory(engine: OpenWakeWord) -> None:
    process = psutil.Process()
    sound = np.zeros(8 * 1280, np.int16)
    max_scores(engine.open_stream(WORDS), sound)
    before = process.memory_info().rss
    streams = [engine.open_stream(WORDS) for _ in range(50)]
    for stream in streams:
        max_scores(stream, sound)
    assert (process.memory_info().rss - before) / 2**20 < 10  # 50 of the library's: 1700 MiB


def test_unknown_word_is_named_with_the_known_ones() -> None:
    said = r"wake\.words in system\.toml names hey_barnabee, .* alexa, hey_jarvis, hey_marvin"
    with pytest.raises(Misconfigured, match=said):
        OpenWakeWord.load(find_models_dir() / "openwakeword", ["hey_jarvis", "hey_barnabee"])


def test_missing_and_damaged_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="barnabee models fetch"):
        OpenWakeWord.load(tmp_path / "openwakeword", ["alexa"])
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / manifest.MANIFEST_NAME).write_text(manifest.render_manifest({}))
    with pytest.raises(ModelDamaged, match=r"melspectrogram\.onnx"):
        OpenWakeWord.load(folder, ["alexa"])
    for file in (find_models_dir() / "openwakeword").iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    (folder / "alexa.onnx").write_bytes(b"x")
    with pytest.raises(ModelDamaged, match=r"alexa\.onnx"):
        OpenWakeWord.load(folder, ["alexa"])


def test_openwakeword_is_not_imported() -> None:
    """The import takes 3 s and 101 MiB, and the library would download models."""
    folder = find_models_dir() / "openwakeword"
    script = (
        "import sys; from pathlib import Path;"
        "from barnabee.gpu.engines.wakeword import OpenWakeWord;"
        f"OpenWakeWord.load(Path({str(folder)!r}), ['alexa']).warm_up();"
        "print(sorted({'openwakeword', 'sklearn', 'requests', 'torch'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

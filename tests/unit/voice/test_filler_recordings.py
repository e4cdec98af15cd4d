"""Recording, loading and removing of filler phrases."""

from __future__ import annotations

import hashlib
import json
import wave
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from barnabee.audio.samples import Samples
from barnabee.core import system
from barnabee.core.errors import Misconfigured
from barnabee.core.schema import System
from barnabee.voice import fillers
from barnabee.voice.fillers import (
    PhraseSynthesizer,
    generate_recordings,
    load_recordings,
    trim_silence,
)

RATE_HZ = 24_000
GRAPH = system.load_system()


@dataclass
class ToneEngine:
    """Fake speech engine: a different tone for each phrase, surrounded by silence."""

    voice: str = "barnabee"
    phrases: list[str] = field(default_factory=list)

    def speak(self, phrase: str) -> Samples:
        self.phrases.append(phrase)
        digest = hashlib.sha256(f"{self.voice}{phrase}".encode()).digest()
        tone = np.sin(np.arange(RATE_HZ // 2) * (0.05 + digest[0] / 2000)).astype(np.float32)
        quiet = np.zeros(RATE_HZ // 4, np.float32)
        return np.concatenate([quiet, tone * 0.3, quiet])

    def make_synthesizer(self) -> PhraseSynthesizer:
        return PhraseSynthesizer(self.speak, {"engine": "tones", "voice": self.voice}, RATE_HZ)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def make_system(thinking: list[str]) -> System:
    filler = GRAPH.filler.model_copy(update={"thinking": thinking})
    return GRAPH.model_copy(update={"filler": filler})


def test_every_phrase_gets_the_file_named_in_the_specification(tmp_path: Path) -> None:
    generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    names = {path.name for path in tmp_path.glob("*.wav")}
    assert {"acknowledgment_0.wav", "acknowledgment_4.wav", "thinking_3.wav"} <= names
    assert {"clarification_1.wav", "trouble_stt_failed.wav", "trouble_api_failed.wav"} <= names
    assert len(names) == 5 + 4 + 2 + 4
    with wave.open(str(tmp_path / "thinking_0.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)


def test_equal_input_gives_equal_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path / name)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_unchanged_recordings_are_kept(tmp_path: Path) -> None:
    generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    before = bytes_of(tmp_path)
    again = ToneEngine()
    report = generate_recordings(GRAPH, again.make_synthesizer(), tmp_path)
    assert (report.recorded, again.phrases) == ((), [])
    assert bytes_of(tmp_path) == before


def test_only_a_changed_phrase_is_recorded_again(tmp_path: Path) -> None:
    generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    again = ToneEngine()
    words = [*GRAPH.filler.thinking[:2], "One moment please", *GRAPH.filler.thinking[3:]]
    report = generate_recordings(make_system(words), again.make_synthesizer(), tmp_path)
    assert again.phrases == ["One moment please"]
    assert report.recorded == ("thinking_2",)


def test_another_voice_records_all_phrases_again(tmp_path: Path) -> None:
    generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    report = generate_recordings(GRAPH, ToneEngine("other").make_synthesizer(), tmp_path)
    assert report.kept == ()


def test_damaged_and_missing_files_are_restored(tmp_path: Path) -> None:
    generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    before = bytes_of(tmp_path)
    (tmp_path / "thinking_1.wav").write_bytes(b"RIFF")
    (tmp_path / "acknowledgment_3.wav").unlink()
    report = generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    assert report.recorded == ("acknowledgment_3", "thinking_1")
    assert bytes_of(tmp_path) == before


def test_recording_of_a_removed_phrase_is_deleted(tmp_path: Path) -> None:
    generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    report = generate_recordings(
        make_system(GRAPH.filler.thinking[:-1]), ToneEngine().make_synthesizer(), tmp_path
    )
    assert report.removed == ("thinking_3",)
    assert not (tmp_path / "thinking_3.wav").exists()


def test_interrupted_run_leaves_complete_files_and_is_continued(tmp_path: Path) -> None:
    broken = ToneEngine()

    def speak_or_fail(phrase: str) -> Samples:
        if len(broken.phrases) == 3:
            raise KeyboardInterrupt
        return broken.speak(phrase)

    with pytest.raises(KeyboardInterrupt):
        generate_recordings(
            GRAPH,
            PhraseSynthesizer(speak_or_fail, broken.make_synthesizer().identity, RATE_HZ),
            tmp_path,
        )
    generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    assert len(load_recordings(tmp_path)["acknowledgment"]) == 5
    assert {path.suffix for path in tmp_path.iterdir()} == {".wav", ".json"}


def test_recordings_are_loaded_with_their_text(tmp_path: Path) -> None:
    generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    found = load_recordings(tmp_path)
    assert [clip.text for clip in found["thinking"]] == GRAPH.filler.thinking
    assert {clip.name for clip in found["trouble"]} >= {
        "trouble_stt_failed",
        "trouble_tts_failed_done",
    }
    assert found["thinking"][0].duration_s == pytest.approx(0.54, abs=0.01)


def test_error_for_an_empty_folder_names_the_command(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="barnabee fillers generate"):
        load_recordings(tmp_path)


def test_error_names_a_damaged_recording(tmp_path: Path) -> None:
    generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    (tmp_path / "thinking_1.wav").write_bytes(b"RIFF")
    with pytest.raises(Misconfigured, match=r"thinking_1\.wav"):
        load_recordings(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', '{"files": {"thinking_0": 3}}'])
def test_unreadable_manifest_is_replaced(tmp_path: Path, content: str) -> None:
    generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    (tmp_path / fillers.MANIFEST).write_text(content, encoding="utf-8")
    generate_recordings(GRAPH, ToneEngine().make_synthesizer(), tmp_path)
    assert json.loads((tmp_path / fillers.MANIFEST).read_text(encoding="utf-8"))["files"]


def test_surrounding_silence_is_trimmed_and_edges_are_faded() -> None:
    tone = np.full(RATE_HZ, 0.5, np.float32)
    quiet = np.full(RATE_HZ, 0.001, np.float32)  # -60 dBFS
    cut = trim_silence(np.concatenate([quiet, tone, quiet]), RATE_HZ)
    assert len(cut) == RATE_HZ + 2 * int(0.02 * RATE_HZ)
    assert cut[0] == cut[-1] == 0
    assert float(np.abs(np.diff(cut)).max()) < 0.5


def test_silent_phrase_becomes_empty() -> None:
    assert len(trim_silence(np.zeros(1000, np.float32), RATE_HZ)) == 0

"""How the recordings are made, kept and read."""

from __future__ import annotations

import hashlib
import json
import wave
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from barnabee.core import system
from barnabee.core.errors import Misconfigured
from barnabee.core.schema import System
from barnabee.voice import filler_files
from barnabee.voice.filler_files import Maker, Samples, finish, generate, load

RATE_HZ = 24_000
GRAPH = system.load()


@dataclass
class Speaker:
    """Says each phrase as a tone of its own, with silence around it."""

    voice: str = "barnabee"
    said: list[str] = field(default_factory=list)

    def speak(self, phrase: str) -> Samples:
        self.said.append(phrase)
        digest = hashlib.sha256(f"{self.voice}{phrase}".encode()).digest()
        tone = np.sin(np.arange(RATE_HZ // 2) * (0.05 + digest[0] / 2000)).astype(np.float32)
        quiet = np.zeros(RATE_HZ // 4, np.float32)
        return np.concatenate([quiet, tone * 0.3, quiet])

    def maker(self) -> Maker:
        return Maker(self.speak, {"engine": "tones", "voice": self.voice}, RATE_HZ)


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def with_thinking(words: list[str]) -> System:
    filler = GRAPH.filler.model_copy(update={"thinking": words})
    return GRAPH.model_copy(update={"filler": filler})


def test_every_phrase_gets_the_file_of_the_specification(tmp_path: Path) -> None:
    generate(GRAPH, Speaker().maker(), tmp_path)
    names = {path.name for path in tmp_path.glob("*.wav")}
    assert {"acknowledgment_0.wav", "acknowledgment_4.wav", "thinking_3.wav"} <= names
    assert {"clarification_1.wav", "trouble_deaf.wav", "trouble_lost.wav"} <= names
    assert len(names) == 5 + 4 + 2 + 4
    with wave.open(str(tmp_path / "thinking_0.wav")) as file:
        assert (file.getframerate(), file.getnchannels(), file.getsampwidth()) == (RATE_HZ, 1, 2)


def test_the_same_input_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        generate(GRAPH, Speaker().maker(), tmp_path / name)
    assert bytes_of(tmp_path / "a") == bytes_of(tmp_path / "b")


def test_what_is_there_is_not_made_again(tmp_path: Path) -> None:
    generate(GRAPH, Speaker().maker(), tmp_path)
    before = bytes_of(tmp_path)
    again = Speaker()
    made = generate(GRAPH, again.maker(), tmp_path)
    assert (made.spoken, again.said) == ((), [])
    assert bytes_of(tmp_path) == before


def test_a_changed_phrase_is_the_only_one_made_again(tmp_path: Path) -> None:
    generate(GRAPH, Speaker().maker(), tmp_path)
    again = Speaker()
    words = [*GRAPH.filler.thinking[:2], "One moment please", *GRAPH.filler.thinking[3:]]
    made = generate(with_thinking(words), again.maker(), tmp_path)
    assert again.said == ["One moment please"]
    assert made.spoken == ("thinking_2",)


def test_another_voice_makes_all_of_them_again(tmp_path: Path) -> None:
    generate(GRAPH, Speaker().maker(), tmp_path)
    made = generate(GRAPH, Speaker("somebody").maker(), tmp_path)
    assert made.kept == ()


def test_a_damaged_and_a_missing_file_are_made_again_as_they_were(tmp_path: Path) -> None:
    generate(GRAPH, Speaker().maker(), tmp_path)
    before = bytes_of(tmp_path)
    (tmp_path / "thinking_1.wav").write_bytes(b"RIFF")
    (tmp_path / "acknowledgment_3.wav").unlink()
    made = generate(GRAPH, Speaker().maker(), tmp_path)
    assert made.spoken == ("acknowledgment_3", "thinking_1")
    assert bytes_of(tmp_path) == before


def test_a_phrase_that_is_gone_is_removed(tmp_path: Path) -> None:
    generate(GRAPH, Speaker().maker(), tmp_path)
    made = generate(with_thinking(GRAPH.filler.thinking[:-1]), Speaker().maker(), tmp_path)
    assert made.removed == ("thinking_3",)
    assert not (tmp_path / "thinking_3.wav").exists()


def test_a_run_that_breaks_off_leaves_whole_files_and_the_next_one_ends_it(tmp_path: Path) -> None:
    broken = Speaker()

    def breaks(phrase: str) -> Samples:
        if len(broken.said) == 3:
            raise KeyboardInterrupt
        return broken.speak(phrase)

    with pytest.raises(KeyboardInterrupt):
        generate(GRAPH, Maker(breaks, broken.maker().identity, RATE_HZ), tmp_path)
    generate(GRAPH, Speaker().maker(), tmp_path)
    assert len(load(tmp_path)["acknowledgment"]) == 5
    assert not list(tmp_path.glob("*.part"))


def test_they_are_read_back_with_their_words(tmp_path: Path) -> None:
    generate(GRAPH, Speaker().maker(), tmp_path)
    found = load(tmp_path)
    assert [clip.words for clip in found["thinking"]] == GRAPH.filler.thinking
    assert {clip.name for clip in found["trouble"]} >= {"trouble_deaf", "trouble_dumb_done"}
    assert found["thinking"][0].duration_s == pytest.approx(0.54, abs=0.01)


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="barnabee fillers generate"):
        load(tmp_path)


def test_a_damaged_recording_is_named(tmp_path: Path) -> None:
    generate(GRAPH, Speaker().maker(), tmp_path)
    (tmp_path / "thinking_1.wav").write_bytes(b"RIFF")
    with pytest.raises(Misconfigured, match=r"thinking_1\.wav"):
        load(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", '{"files": 3}', '{"files": {"thinking_0": 3}}'])
def test_a_manifest_that_cannot_be_read_is_made_anew(tmp_path: Path, content: str) -> None:
    generate(GRAPH, Speaker().maker(), tmp_path)
    (tmp_path / filler_files.MANIFEST).write_text(content, encoding="utf-8")
    generate(GRAPH, Speaker().maker(), tmp_path)
    assert json.loads((tmp_path / filler_files.MANIFEST).read_text(encoding="utf-8"))["files"]


def test_silence_around_a_phrase_is_cut_and_its_edges_are_soft() -> None:
    tone = np.full(RATE_HZ, 0.5, np.float32)
    quiet = np.full(RATE_HZ, 0.001, np.float32)  # -60 dBFS
    cut = finish(np.concatenate([quiet, tone, quiet]), RATE_HZ)
    assert len(cut) == RATE_HZ + 2 * int(0.02 * RATE_HZ)
    assert cut[0] == cut[-1] == 0
    assert float(np.abs(np.diff(cut)).max()) < 0.5


def test_a_phrase_of_silence_has_no_samples() -> None:
    assert len(finish(np.zeros(1000, np.float32), RATE_HZ)) == 0

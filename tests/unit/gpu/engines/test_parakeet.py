"""Parakeet engine on a small real NeMo-style export (support/parakeet_tdt.py), through onnx-asr."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnx
import pytest

from barnabee.audio.samples import WINDOW_S
from barnabee.core.errors import Misconfigured, ModelDamaged, ModelMissing
from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.parakeet import EUROPEAN, Parakeet, read_languages
from support import parakeet_tdt

CPU = Device("cpu", 1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return parakeet_tdt.write_export(tmp_path_factory.mktemp("models") / "parakeet")


@pytest.fixture(scope="module")
def engine(folder: Path) -> Parakeet:
    made = Parakeet.load(folder, device=CPU)
    made.warm_up()
    return made


def transcribe_text(engine: Parakeet, sound: np.ndarray) -> str:
    return "".join(one.text for one in engine.transcribe(sound, language="en")).strip()


def test_words_have_times_and_confidence(engine: Parakeet) -> None:
    (found,) = engine.transcribe(
        parakeet_tdt.make_tones(500, 900, 1400, 2000), language="en", words=True
    )
    assert found.text == " turn on lights"
    assert 0.9 < found.confidence <= 1
    step_s = parakeet_tdt.TONE_S + parakeet_tdt.GAP_S
    for number, word in enumerate(found.words):
        assert word.start_s == pytest.approx(parakeet_tdt.GAP_S + number * step_s, abs=0.1)
        assert word.start_s < word.end_s
        assert 0.5 < word.confidence <= 1
    assert [word.text for word in found.words] == [" turn", " on", " lights"]


def test_decoder_state_is_carried_within_a_recording_only(engine: Parakeet) -> None:
    for _ in range(2):
        assert transcribe_text(engine, parakeet_tdt.make_tones(500, 900, 500)) == "turn on again"
        assert transcribe_text(engine, parakeet_tdt.make_tones(500, 900, 2800)) == "turn on stop"


def test_sentences_are_yielded_one_by_one(engine: Parakeet) -> None:
    sound = parakeet_tdt.make_tones(2800, 3800, 500, 900, 3800)
    found = list(engine.transcribe(sound, language="en"))
    assert [one.text for one in found] == [" stop.", " turn on."]
    assert found[0].end_s <= found[1].start_s
    assert all(one.words == () for one in found)


def test_silence_yields_no_segment(engine: Parakeet) -> None:
    for silence in (np.zeros(0), np.zeros(100), np.full(32_000, 5e-5), np.zeros(90 * 16_000)):
        assert list(engine.transcribe(silence.astype(np.float32), language="en")) == []
    assert transcribe_text(engine, parakeet_tdt.make_tones()) == ""  # a second of hiss


@pytest.mark.parametrize("count", [1, 159, 161, 400, 1600])
def test_very_short_audio_is_accepted(engine: Parakeet, count: int) -> None:
    snippet = parakeet_tdt.make_tones(500)[6400 : 6400 + count]
    for found in engine.transcribe(snippet, language="en", words=True):
        assert np.isfinite(found.average_log_probability)


def test_long_recording_is_transcribed_with_correct_times(engine: Parakeet) -> None:
    once = parakeet_tdt.make_tones(500, 900, 2800)
    many = np.tile(once, 30)  # 70 s
    assert len(many) / 16_000 > 2 * WINDOW_S
    found = list(engine.transcribe(many, language="en", words=True))
    words = [word for one in found for word in one.words]
    assert [word.text for word in words if word.text != " again"] == [
        " turn", " on", " stop",
    ] * 30  # fmt: skip
    assert words[-1].start_s == pytest.approx(len(many) / 16_000 - 0.64, abs=0.2)
    assert all(a.end_s <= b.start_s for a, b in pairwise(words))


def test_every_kind_of_export_is_loaded(tmp_path: Path) -> None:
    sound = parakeet_tdt.make_tones(500, 900, 1400, 2000)
    larger = parakeet_tdt.write_export(
        tmp_path / "one", kind="parakeet-1.1b"
    )  # 80 mel bands, as the 1.1b
    assert transcribe_text(Parakeet.load(larger, device=CPU), sound) == "turn on lights"
    quantised = parakeet_tdt.write_export(tmp_path / "two", suffix=".int8")
    assert transcribe_text(Parakeet.load(quantised, device=CPU), sound) == "turn on lights"
    outside = parakeet_tdt.write_export(
        tmp_path / "three"
    )  # weights in a file beside, as the real encoder
    path = outside / "encoder-model.onnx"
    model = onnx.load(path)
    onnx.save(
        model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=256
    )
    parakeet_tdt.write_manifest(outside)
    assert transcribe_text(Parakeet.load(outside, device=CPU), sound) == "turn on lights"
    outside.joinpath(f"{path.name}.data").write_bytes(b"short")
    with pytest.raises(ModelDamaged, match=r"encoder-model\.onnx\.data"):
        Parakeet.load(outside, device=CPU)


def test_engine_can_be_closed_and_loaded_again(folder: Path) -> None:
    for _ in range(3):
        made = Parakeet.load(folder, device=CPU)
        made.warm_up()
        assert transcribe_text(made, parakeet_tdt.make_tones(2800)) == "stop"
        made.close()


def test_incomplete_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="parakeet"):
        Parakeet.load(tmp_path / "parakeet", device=CPU)
    damaged = parakeet_tdt.write_export(tmp_path / "damaged")
    path = damaged / "decoder_joint-model.onnx"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ModelDamaged, match="decoder_joint"):
        Parakeet.load(damaged, device=CPU)
    bare = parakeet_tdt.write_export(tmp_path / "bare")
    (bare / "config.json").unlink()
    parakeet_tdt.write_manifest(bare)
    with pytest.raises(Misconfigured, match=r"config\.json is missing"):
        Parakeet.load(bare, device=CPU)


def test_wrong_number_of_bands_fails_at_warm_up(tmp_path: Path) -> None:
    wrong = parakeet_tdt.write_export(tmp_path / "wrong")
    config = json.loads((wrong / "config.json").read_text())
    (wrong / "config.json").write_text(json.dumps(config | {"features_size": 80}))
    parakeet_tdt.write_manifest(wrong)
    with pytest.raises(Exception, match="audio_signal"):
        Parakeet.load(wrong, device=CPU).warm_up()


def test_languages_follow_the_vocabulary(engine: Parakeet, tmp_path: Path) -> None:
    assert engine.languages == {"en"}
    many = tmp_path / "vocab.txt"
    many.write_text("".join(f"t{number} {number}\n" for number in range(8193)))
    assert read_languages(many) == EUROPEAN
    assert len(EUROPEAN) == 25


def test_without_a_card_the_sentence_says_what_to_install(folder: Path) -> None:
    with pytest.raises(Misconfigured, match="onnxruntime-gpu"):
        Parakeet.load(folder, device=Device("cuda"))

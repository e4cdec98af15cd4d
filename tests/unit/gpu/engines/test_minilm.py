"""MiniLM on its real weights: by onnxruntime, by torch, and what sentence-transformers says."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

from barnabee.core.errors import ModelDamaged, ModelMissing
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.minilm import GRAPH, MAX_TOKENS, MiniLm
from barnabee.gpu.engines.minilm_torch import MiniLmTorch
from support.gpu import models_dir
from support.torch_env import run_in_torch

ROOT = Path(__file__).parents[4]
DATA = ROOT / "tests" / "data"
AGREE = 0.9999  # promised is 0.999
ODD = (
    "a",
    ".",
    "?!",
    "  padded with blanks  ",
    "UPPER CASE and lower case",
    "12:45 on 2026-03-01, 3.5 °C",
    "Müßiggänger grüßen höflich",
    "你好,厨房的灯",
    "включи свет на кухне",
    "شغل الضوء",
    "🎉🎉 party 🎉",
    "a\u0301e\u0301 combining",
    "line\nbreak\tand tab",
    "supercalifragilisticexpialidocious" * 3,
    "[CLS] [SEP] [MASK]",
    "<script>alert('x')</script>",
)


def held_out() -> list[str]:
    """Return every sentence of the held-out intents."""
    table = tomllib.loads((DATA / "intents_heldout.toml").read_text(encoding="utf-8"))

    def strings(found: object) -> list[str]:
        if isinstance(found, str):
            return [found]
        inner = found.values() if isinstance(found, dict) else found
        return [text for one in inner for text in strings(one)]  # type: ignore[attr-defined]

    return strings(table)


def varied() -> list[str]:
    """Return sentences, odd ones, and texts around and far over what the model reads."""
    sentences = held_out()
    long = [" ".join(sentences[start : start + 60]) for start in range(0, 60, 10)]
    edge = [" ".join(["light"] * count) for count in (253, 254, 255, 400)]
    return [*sentences, *ODD, *long, *edge]


@pytest.fixture(scope="module")
def engine() -> MiniLm:
    return MiniLm.load(models_dir() / "minilm", device=Device("cpu", 2))


def test_there_are_many_sentences_and_long_texts(engine: MiniLm) -> None:
    tokens = engine.embed(varied()).tokens
    assert len(tokens) > 150
    assert sum(count == MAX_TOKENS for count in tokens) >= 8
    assert max(tokens) == MAX_TOKENS


def test_a_text_has_the_same_vector_alone_and_among_any_others(engine: MiniLm) -> None:
    texts = varied()
    alone = np.concatenate([engine.embed([text]).vectors for text in texts])
    likeness = (engine.embed(texts).vectors * alone).sum(axis=1)
    assert likeness.min() > 0.99999


def test_a_folder_that_is_not_whole_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="minilm"):
        MiniLmTorch.load(tmp_path / "minilm", device=Device("cpu", 1))
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"short")
    entry = {"model.safetensors": {"sha256": "0" * 64, "size": 90868376}}
    (folder / "manifest.json").write_text(json.dumps({"files": entry}), encoding="utf-8")
    with pytest.raises(ModelDamaged, match=r"model\.safetensors"):
        MiniLmTorch.load(folder, device=Device("cpu", 1))


def test_the_committed_graph_is_what_its_script_makes_for_these_weights(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_minilm_graph.py"
    weights, made = models_dir() / "minilm" / "model.safetensors", tmp_path / "made.onnx"
    subprocess.run([sys.executable, str(script), str(weights), str(made)], check=True)
    assert made.read_bytes() == GRAPH.read_bytes()


@pytest.mark.long
@pytest.mark.timeout(3600)  # torch's environment may have to be made
def test_torch_and_onnxruntime_and_sentence_transformers_agree(tmp_path: Path) -> None:
    models, texts = models_dir(), varied()
    listing = tmp_path / "texts.json"
    listing.write_text(json.dumps(texts), encoding="utf-8")
    found = json.loads(run_in_torch("support.minilm_agree", str(models), str(listing)))
    print(
        f"\n{len(texts)} texts, least cosine of MiniLM on torch to onnxruntime: "
        f"{min(found['onnx']):.5f}, to sentence-transformers: {min(found['bare']):.5f}, "
        f"alone to together: {min(found['alone']):.5f}"
    )
    assert (found["dimensions"], found["type"]) == (384, "float32")
    assert found["same_tokens"]
    np.testing.assert_allclose(found["lengths"], 1, atol=1e-5)
    for other in ("onnx", "bare", "alone"):
        low = [text for text, one in zip(texts, found[other], strict=True) if one < AGREE]
        assert not low, other


def linked(folder: Path, target: Path) -> Path:
    """Return a folder of links to the real files, the weights by way of `target`."""
    folder.mkdir()
    for file in (models_dir() / "minilm").iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(target)
    return folder


def test_weights_are_read_through_a_link(tmp_path: Path) -> None:
    folder = linked(tmp_path / "minilm", models_dir() / "minilm" / "model.safetensors")
    engine = MiniLm.load(folder, device=Device("cpu", 1))
    assert engine.embed(["hello"]).vectors.shape == (1, 384)


def test_weights_that_are_called_otherwise_are_refused_in_a_sentence(tmp_path: Path) -> None:
    other = tmp_path / "a-hash-model.safetensors"
    shutil.copyfile(models_dir() / "minilm" / "model.safetensors", other)
    folder = linked(tmp_path / "minilm", other)
    with pytest.raises(ModelDamaged, match="copy it"):
        MiniLm.load(folder, device=Device("cpu", 1))

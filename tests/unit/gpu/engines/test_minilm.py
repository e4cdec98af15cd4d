"""MiniLM engine with real weights: onnxruntime, torch and sentence-transformers compared."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from barnabee.core.errors import ModelDamaged, ModelMissing
from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.minilm import GRAPH, MAX_TOKENS, MiniLm, MiniLmTorch
from support.gpu import find_models_dir
from support.minilm_texts import make_texts

ROOT = Path(__file__).parents[4]
DATA = ROOT / "tests" / "data"


@pytest.fixture(scope="module")
def engine() -> MiniLm:
    return MiniLm.load(find_models_dir() / "minilm", device=Device("cpu", 2))


def test_test_data_has_many_sentences_and_long_texts(engine: MiniLm) -> None:
    tokens = engine.embed(make_texts()).tokens
    assert len(tokens) > 150
    assert sum(count == MAX_TOKENS for count in tokens) >= 8
    assert max(tokens) == MAX_TOKENS


def test_vector_does_not_depend_on_the_batch(engine: MiniLm) -> None:
    texts = make_texts()
    alone = np.concatenate([engine.embed([text]).vectors for text in texts])
    similarity = (engine.embed(texts).vectors * alone).sum(axis=1)
    assert similarity.min() > 0.99999


def test_incomplete_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelMissing, match="minilm"):
        MiniLmTorch.load(tmp_path / "minilm", device=Device("cpu", 1))
    folder = tmp_path / "damaged"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"short")
    entry = {"model.safetensors": {"sha256": "0" * 64, "size": 90868376}}
    (folder / "manifest.json").write_text(json.dumps({"files": entry}), encoding="utf-8")
    with pytest.raises(ModelDamaged, match=r"model\.safetensors"):
        MiniLmTorch.load(folder, device=Device("cpu", 1))


def test_committed_graph_equals_the_output_of_its_script(tmp_path: Path) -> None:
    script = ROOT / "scripts" / "make_minilm_graph.py"
    weights, made = find_models_dir() / "minilm" / "model.safetensors", tmp_path / "made.onnx"
    subprocess.run([sys.executable, str(script), str(weights), str(made)], check=True)
    assert made.read_bytes() == GRAPH.read_bytes()


def link_files(folder: Path, target: Path) -> Path:
    """Return a folder of links to the real files, with the weights linked to `target`."""
    folder.mkdir()
    for file in (find_models_dir() / "minilm").iterdir():
        (folder / file.name).symlink_to(file)
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors").symlink_to(target)
    return folder


def test_weights_may_be_a_symbolic_link(tmp_path: Path) -> None:
    folder = link_files(tmp_path / "minilm", find_models_dir() / "minilm" / "model.safetensors")
    engine = MiniLm.load(folder, device=Device("cpu", 1))
    assert engine.embed(["hello"]).vectors.shape == (1, 384)


def test_linked_weights_of_another_name_are_refused(tmp_path: Path) -> None:
    other = tmp_path / "a-hash-model.safetensors"
    shutil.copyfile(find_models_dir() / "minilm" / "model.safetensors", other)
    folder = link_files(tmp_path / "minilm", other)
    with pytest.raises(ModelDamaged, match="copy it"):
        MiniLm.load(folder, device=Device("cpu", 1))

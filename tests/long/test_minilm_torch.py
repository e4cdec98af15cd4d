"""MiniLM with real weights on torch, onnxruntime and in sentence-transformers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from support.gpu import find_models_dir
from support.minilm_texts import make_texts
from support.torch_env import run_in_torch

MIN_COSINE = 0.9999  # documented is 0.999


@pytest.mark.timeout(3600)  # torch's environment may have to be installed
def test_torch_onnxruntime_and_sentence_transformers_agree(tmp_path: Path) -> None:
    models, texts = find_models_dir(), make_texts()
    listing = tmp_path / "texts.json"
    listing.write_text(json.dumps(texts), encoding="utf-8")
    found = json.loads(run_in_torch("support.minilm_comparison", str(models), str(listing)))
    print(
        f"\n{len(texts)} texts, least cosine of MiniLM on torch to onnxruntime: "
        f"{min(found['onnx']):.5f}, to sentence-transformers: {min(found['bare']):.5f}, "
        f"alone to together: {min(found['alone']):.5f}"
    )
    assert (found["dimensions"], found["type"]) == (384, "float32")
    assert found["same_tokens"]
    np.testing.assert_allclose(found["lengths"], 1, atol=1e-5)
    for other in ("onnx", "bare", "alone"):
        low = [text for text, one in zip(texts, found[other], strict=True) if one < MIN_COSINE]
        assert not low, other

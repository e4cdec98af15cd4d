"""Comparison of MiniLM on torch, onnxruntime and sentence-transformers; runs in torch's Python.

Arguments: the models' folder and a JSON file of texts. Prints JSON.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from sentence_transformers import SentenceTransformer

from barnabee.gpu.engines.base import Device
from barnabee.gpu.engines.minilm import MiniLm, MiniLmTorch


def main() -> None:
    folder, texts = Path(sys.argv[1]), json.loads(Path(sys.argv[2]).read_text(encoding="utf-8"))
    ours = MiniLmTorch.load(folder / "minilm", device=Device("cpu", 2))
    ours.warm_up()
    onnx = MiniLm.load(folder / "minilm", device=Device("cpu", 2))
    bare = SentenceTransformer(str(folder / "minilm"), device="cpu", local_files_only=True)
    together, by_onnx = ours.embed(texts), onnx.embed(texts)
    alone = np.concatenate([ours.embed([text]).vectors for text in texts])
    reference = bare.encode(texts, show_progress_bar=False)
    ours.close()
    vectors = together.vectors
    results = {
        "lengths": np.linalg.norm(vectors, axis=1).tolist(),
        "onnx": (vectors * by_onnx.vectors).sum(axis=1).tolist(),
        "bare": (vectors * reference).sum(axis=1).tolist(),
        "alone": (vectors * alone).sum(axis=1).tolist(),
        "tokens": together.tokens,
        "same_tokens": together.tokens == by_onnx.tokens,
        "dimensions": ours.dimensions,
        "type": str(vectors.dtype),
    }
    print(json.dumps(results))


if __name__ == "__main__":
    main()

"""Embeddings with all-MiniLM-L6-v2 through onnxruntime: mean pooling, length 1.

The same computation as sentence-transformers' (mean over the tokens that are not padding, then L2).
`minilm.onnx` beside this file is the computation alone (scripts/make_minilm_graph.py); its weights
are read out of the file that torch reads on a card, so that both give the same vectors. An int8
file of the same model was 0.996 to 0.9999 near to them, below 0.999 for 30 of 166 texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barnabee.core import manifest
from barnabee.core.errors import ModelDamaged
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.onnx import open_session
from barnabee.gpu.engines.protocols import Embeddings

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Integers = NDArray[np.int64]

GRAPH = Path(__file__).with_suffix(".onnx")
WEIGHTS = "model.safetensors"
DIMENSIONS = 384
MAX_TOKENS = 256  # what the model was trained to read; more is cut off
BATCH = 16


class MiniLm:
    """One loaded MiniLM model."""

    def __init__(self, session: Any, tokenizer: Tokenizer) -> None:
        """Take a loaded session and tokenizer; use `load`."""
        self._session = session
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, directory: Path, *, device: Device) -> MiniLm:
        """Verify and load the folder; ModelMissing or ModelDamaged when it is not whole."""
        manifest.verify(directory)
        session = open_session(GRAPH, device=device, weights=weights_folder(directory))
        return cls(session, open_tokenizer(directory))

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        return DIMENSIONS

    def warm_up(self) -> None:
        """Embed two texts of different length, so that padding runs too."""
        self.embed(["hello", "turn on the kitchen light"])

    def close(self) -> None:
        """Let go of the model."""
        del self._session

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one vector for each text."""
        return embed_alike(self._tokenizer, texts, self._run)

    def _run(self, tokens: Integers, mask: Integers) -> NDArray[np.float32]:
        (hidden,) = self._session.run(None, {"input_ids": tokens, "attention_mask": mask})
        return pool(hidden, mask)


def weights_folder(directory: Path) -> Path:
    """Return where the weights really lie: onnxruntime reads none through a link.

    ModelDamaged when they are a link to a file of another name, which the graph does not know.
    """
    weights = (directory / WEIGHTS).resolve()
    if weights.name != WEIGHTS:
        reason = f"it is a link to {weights}, and onnxruntime wants a file of this name: copy it"
        raise ModelDamaged(path=directory / WEIGHTS, reason=reason)
    return weights.parent


def open_tokenizer(directory: Path) -> Tokenizer:
    """Return the tokenizer of a verified folder; it cuts after MAX_TOKENS and never pads."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - heavy

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()  # the file pads everything to 128
    return tokenizer


def embed_alike(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    run: Callable[[Integers, Integers], NDArray[np.float32]],
) -> Embeddings:
    """Run texts of like length together and return them in their order.

    `run` takes tokens and mask, (n, width) each, and returns (n, DIMENSIONS) rows of length 1.
    """
    encodings = tokenizer.encode_batch(list(texts))
    vectors = np.empty((len(texts), DIMENSIONS), np.float32)
    by_length = sorted(range(len(texts)), key=lambda index: len(encodings[index]))
    for start in range(0, len(by_length), BATCH):  # alike in length: little padding
        chosen = by_length[start : start + BATCH]
        vectors[chosen] = run(*_padded([encodings[index] for index in chosen]))
    return Embeddings(vectors, tuple(len(encoding) for encoding in encodings))


def _padded(encodings: Sequence[Encoding]) -> tuple[Integers, Integers]:
    tokens = np.zeros((len(encodings), max(len(encoding) for encoding in encodings)), np.int64)
    mask = np.zeros_like(tokens)
    for row, encoding in enumerate(encodings):
        tokens[row, : len(encoding)] = encoding.ids
        mask[row, : len(encoding)] = 1
    return tokens, mask


def pool(hidden: NDArray[np.float32], mask: Integers) -> NDArray[np.float32]:
    """Return the mean of `hidden` (n, tokens, d) where `mask` is 1, normalised. Pure."""
    weights = mask[:, :, None].astype(np.float32)
    mean = (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    result: NDArray[np.float32] = mean / np.maximum(length, np.float32(1e-12))
    return result

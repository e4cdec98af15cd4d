"""MiniLM embedding engine: all-MiniLM-L6-v2 through onnxruntime, or torch on a GPU.

`MiniLm` computes the same as sentence-transformers, which `MiniLmTorch` uses: mean over the tokens,
then L2 normalisation.
`minilm.onnx` beside this file is the graph without weights (scripts/make_minilm_graph.py); the
weights come from the file that torch reads on a GPU, so that both give the same vectors. The
vectors of an int8 file had a cosine of 0.996 to 0.9999 to them, below 0.999 for 30 of 166 texts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barnabee.core import manifest
from barnabee.core.errors import Misconfigured, ModelDamaged
from barnabee.gpu.engines.base import Device, Embeddings, open_session

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

Integers = NDArray[np.int64]

GRAPH = Path(__file__).with_suffix(".onnx")
WEIGHTS = "model.safetensors"
DIMENSIONS = 384
MAX_TOKENS = 256  # of one text; the rest is truncated
BATCH_SIZE = 16


class MiniLm:
    """A loaded MiniLM model."""

    def __init__(self, session: Any, tokenizer: Tokenizer) -> None:
        """Take an onnxruntime session and a tokenizer; use `load`."""
        self._session = session
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, directory: Path, *, device: Device) -> MiniLm:
        """Verify and load a model folder; raises ModelMissing, ModelDamaged or Misconfigured."""
        manifest.verify_directory(directory)
        session = open_session(GRAPH, device=device, weights=find_weights_folder(directory))
        return cls(session, open_tokenizer(directory))

    @property
    def dimensions(self) -> int:
        return DIMENSIONS

    def warm_up(self) -> None:
        """Embed two texts of different length, so that padding is used too."""
        self.embed(["hello", "turn on the kitchen light"])

    def close(self) -> None:
        del self._session

    def embed(self, texts: Sequence[str]) -> Embeddings:
        return embed_by_length(self._tokenizer, texts, self._run)

    def _run(self, tokens: Integers, mask: Integers) -> NDArray[np.float32]:
        (hidden,) = self._session.run(None, {"input_ids": tokens, "attention_mask": mask})
        return mean_pool(hidden, mask)


def find_weights_folder(directory: Path) -> Path:
    """Return the folder of the weights with links resolved, which onnxruntime does not do.

    ModelDamaged when they link to a file of another name, because the graph refers to WEIGHTS.
    """
    weights = (directory / WEIGHTS).resolve()
    if weights.name != WEIGHTS:
        reason = f"it is a link to {weights}, and onnxruntime needs a file of this name: copy it"
        raise ModelDamaged(path=directory / WEIGHTS, reason=reason)
    return weights.parent


def open_tokenizer(directory: Path) -> Tokenizer:
    """Return the tokenizer of a verified folder; it truncates at MAX_TOKENS and does not pad."""
    from tokenizers import Tokenizer  # noqa: PLC0415 - heavy

    tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
    tokenizer.enable_truncation(MAX_TOKENS)
    tokenizer.no_padding()  # the file would pad to 128
    return tokenizer


def embed_by_length(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    run: Callable[[Integers, Integers], NDArray[np.float32]],
) -> Embeddings:
    """Embed texts in batches of similar length, which need little padding.

    `run` takes tokens and mask, (n, width) each, and returns (n, DIMENSIONS) rows of length 1.
    """
    encodings = tokenizer.encode_batch(list(texts))
    vectors = np.empty((len(texts), DIMENSIONS), np.float32)
    by_length = sorted(range(len(texts)), key=lambda index: len(encodings[index]))
    for start in range(0, len(by_length), BATCH_SIZE):
        chosen = by_length[start : start + BATCH_SIZE]
        vectors[chosen] = run(*_pad([encodings[index] for index in chosen]))
    return Embeddings(vectors, tuple(len(encoding) for encoding in encodings))


def _pad(encodings: Sequence[Encoding]) -> tuple[Integers, Integers]:
    tokens = np.zeros((len(encodings), max(len(encoding) for encoding in encodings)), np.int64)
    mask = np.zeros_like(tokens)
    for row, encoding in enumerate(encodings):
        tokens[row, : len(encoding)] = encoding.ids
        mask[row, : len(encoding)] = 1
    return tokens, mask


def mean_pool(hidden: NDArray[np.float32], mask: Integers) -> NDArray[np.float32]:
    """Return the normalised mean of `hidden` (n, tokens, d) where `mask` is 1. Pure."""
    weights = mask[:, :, None].astype(np.float32)
    mean = (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1)
    length = np.linalg.norm(mean, axis=1, keepdims=True)
    result: NDArray[np.float32] = mean / np.maximum(length, np.float32(1e-12))
    return result


class MiniLmTorch:
    """A loaded MiniLM model of sentence-transformers on torch."""

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        """Take a SentenceTransformer and a tokenizer; use `load`."""
        self._model = model
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, directory: Path, *, device: Device) -> MiniLmTorch:
        """Verify and load a model folder.

        Raises ModelMissing, ModelDamaged, or Misconfigured when a library is not installed.
        """
        manifest.verify_directory(directory)
        try:
            import torch  # noqa: PLC0415 - heavy
            import transformers  # noqa: PLC0415 - heavy
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - heavy
        except ImportError as error:
            what = f"BARNABEE_DEVICE=cuda needs the extra `gpu` of this package: {error}"
            raise Misconfigured(what=what) from error
        transformers.utils.logging.disable_progress_bar()  # keeps it out of the log
        torch_device = f"cuda:{device.index}" if device.kind == "cuda" else "cpu"
        if device.kind == "cpu":
            torch.set_num_threads(device.threads)
        model = SentenceTransformer(
            str(directory),
            device=torch_device,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},  # a pickle could execute code
        )
        return cls(model.eval(), open_tokenizer(directory))

    @property
    def dimensions(self) -> int:
        return DIMENSIONS

    def warm_up(self) -> None:
        """Embed two texts of different length, so that padding is used too."""
        self.embed(["hello", "turn on the kitchen light"])

    def close(self) -> None:
        del self._model

    def embed(self, texts: Sequence[str]) -> Embeddings:
        return embed_by_length(self._tokenizer, texts, self._run)

    def _run(self, tokens: Integers, mask: Integers) -> NDArray[np.float32]:
        import torch  # noqa: PLC0415 - heavy

        inputs = {
            "input_ids": tokens,
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(tokens),
        }
        device = self._model.device
        with torch.inference_mode():
            features = {name: torch.from_numpy(one).to(device) for name, one in inputs.items()}
            embeddings = self._model(features)["sentence_embedding"]
        vectors: NDArray[np.float32] = embeddings.cpu().numpy()
        return vectors

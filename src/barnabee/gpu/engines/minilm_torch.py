"""Embeddings with all-MiniLM-L6-v2 through sentence-transformers on torch, for a card.

It reads its texts with the tokenizer of `minilm`; what follows is sentence-transformers' own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barnabee.core import manifest
from barnabee.core.errors import Misconfigured
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.minilm import DIMENSIONS, Integers, embed_alike, open_tokenizer
from barnabee.gpu.engines.protocols import Embeddings

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class MiniLmTorch:
    """One loaded MiniLM model."""

    def __init__(self, model: Any, tokenizer: Tokenizer) -> None:
        """Take a loaded SentenceTransformer and its tokenizer; use `load`."""
        self._model = model
        self._tokenizer = tokenizer

    @classmethod
    def load(cls, directory: Path, *, device: Device) -> MiniLmTorch:
        """Verify and load the folder; ModelMissing or ModelDamaged when it is not whole.

        Misconfigured where torch or sentence-transformers is not installed.
        """
        manifest.verify(directory)
        try:
            import torch  # noqa: PLC0415 - heavy
            import transformers  # noqa: PLC0415 - heavy
            from sentence_transformers import SentenceTransformer  # noqa: PLC0415 - heavy
        except ImportError as error:
            what = f"BARNABEE_DEVICE=cuda needs the extra `gpu` of this package: {error}"
            raise Misconfigured(what=what) from error
        transformers.utils.logging.disable_progress_bar()  # it would stand in the log
        where = f"cuda:{device.index}" if device.kind == "cuda" else "cpu"
        if device.kind == "cpu":
            torch.set_num_threads(device.threads)
        model = SentenceTransformer(
            str(directory),
            device=where,
            local_files_only=True,
            model_kwargs={"use_safetensors": True},  # the other form runs code when it is read
        )
        return cls(model.eval(), open_tokenizer(directory))

    @property
    def dimensions(self) -> int:
        """Return the length of a vector."""
        return DIMENSIONS

    def warm_up(self) -> None:
        """Embed two texts of different length, so that padding runs too."""
        self.embed(["hello", "turn on the kitchen light"])

    def close(self) -> None:
        """Let go of the model."""
        del self._model

    def embed(self, texts: Sequence[str]) -> Embeddings:
        """Return one vector for each text."""
        return embed_alike(self._tokenizer, texts, self._run)

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
            found = self._model(features)["sentence_embedding"]
        vectors: NDArray[np.float32] = found.cpu().numpy()
        return vectors

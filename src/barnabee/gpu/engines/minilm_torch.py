"""MiniLM embedding engine for a GPU, through sentence-transformers on torch."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barnabee.core import manifest
from barnabee.core.errors import Misconfigured
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.minilm import DIMENSIONS, Integers, embed_by_length, open_tokenizer
from barnabee.gpu.engines.protocols import Embeddings

if TYPE_CHECKING:
    from tokenizers import Tokenizer


class MiniLmTorch:
    """A loaded MiniLM model on torch."""

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

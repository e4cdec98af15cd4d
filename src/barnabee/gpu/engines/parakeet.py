"""Speech to text with NVIDIA's Parakeet (FastConformer-TDT) through onnx-asr and onnxruntime.

Any NeMo TDT export does: 0.6b v3 and v2, 1.1b, or one's own. What differs (mel bands, vocabulary,
size of the states) stands in the folder's files: `config.json`, `vocab.txt`, `encoder-model.onnx`,
`decoder_joint-model.onnx`, or the two models with `.int8` before `.onnx`.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from barnabee.core import manifest
from barnabee.core.errors import Misconfigured
from barnabee.gpu.engines import onnx
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.protocols import STT_RATE_HZ, Samples, Segment
from barnabee.gpu.engines.tokens import Token, segments
from barnabee.gpu.engines.windows import windows

if TYPE_CHECKING:
    from onnx_asr.adapters import TimestampedResultsAsrAdapter
    from onnx_asr.asr import TimestampedResult

TYPE = "nemo-conformer-tdt"
NEEDED = ("config.json", "vocab.txt")
# Shorter sounds are padded: mel bands are normalised over time, which needs some time.
SHORTEST_S = 0.5
# The English models (v2, 1.1b) have 1024 tokens, the one with 25 languages (v3) has 8192.
ENGLISH_VOCABULARY = 4096
ENGLISH = frozenset({"en"})
EUROPEAN = (
    ENGLISH
    | {"bg", "cs", "da", "de", "el", "es", "et", "fi", "fr", "hr", "hu", "it"}
    | {"lt", "lv", "mt", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "uk"}
)


class Parakeet:
    """One loaded Parakeet model."""

    def __init__(self, model: TimestampedResultsAsrAdapter, languages: frozenset[str]) -> None:
        """Take a loaded model that gives times; use `load`."""
        self._model = model
        self._languages = languages

    @classmethod
    def load(cls, directory: Path, *, device: Device) -> Parakeet:
        """Verify and load the folder.

        Raises ModelMissing or ModelDamaged when it is not whole, Misconfigured when it is no such
        export or the device cannot be used.
        """
        providers = onnx.providers(device)
        manifest.verify(directory)
        for name in NEEDED:
            if not (directory / name).is_file():
                raise Misconfigured(what=f"{directory / name} is missing: a NeMo TDT export has it")
        import onnx_asr  # noqa: PLC0415 - heavy

        model = onnx_asr.load_model(
            TYPE,
            path=directory,
            quantization=_quantization(directory),
            sess_options=onnx.options(device),
            providers=providers,
        )
        encoder: Any = vars(model.asr)["_encoder"]  # it has no public name
        onnx.require(encoder, device)
        return cls(model.with_timestamps(), languages_of(directory / "vocab.txt"))

    @property
    def languages(self) -> frozenset[str]:
        """Return the language codes it knows; it finds out by itself which one is spoken."""
        return self._languages

    def warm_up(self) -> None:
        """Run preprocessor, encoder and decoder once, on one second of noise."""
        noise = np.random.default_rng(0).normal(0, 0.01, STT_RATE_HZ).astype(np.float32)
        self._model.recognize(noise)

    def close(self) -> None:
        """Let go of the model."""
        del self._model

    def transcribe(
        self, samples: Samples, *, language: str, words: bool = False
    ) -> Iterator[Segment]:
        """Yield what is said in `samples` (16 kHz), a window at a time."""
        del language  # the model is not told; whoever asks has compared it with `languages`
        for start_s, window in windows(samples):
            short = int(SHORTEST_S * STT_RATE_HZ) - len(window)
            heard = self._model.recognize(np.pad(window, (0, short)) if short > 0 else window)
            end_s = start_s + len(window) / STT_RATE_HZ
            yield from segments(_tokens(heard, start_s), end_s, words=words)


def languages_of(vocabulary: Path) -> frozenset[str]:
    """Return the languages of a model, by the size of its vocabulary (one token a line)."""
    with vocabulary.open("rb") as file:
        return ENGLISH if sum(1 for _ in file) < ENGLISH_VOCABULARY else EUROPEAN


def _quantization(directory: Path) -> str | None:
    return None if (directory / "encoder-model.onnx").is_file() else "int8"


def _tokens(heard: TimestampedResult, start_s: float) -> list[Token]:
    rows: Any = zip(heard.tokens or (), heard.timestamps or (), heard.logprobs or (), strict=True)
    return [Token(text, start_s + at_s, log) for text, at_s, log in rows]

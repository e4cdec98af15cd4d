"""Parakeet speech-to-text engine (NVIDIA's FastConformer-TDT) through onnx-asr and onnxruntime.

Loads any NeMo TDT export (0.6b v3 and v2, 1.1b, or one of your own). What differs between them is
read from the folder: `config.json`, `vocab.txt`, `encoder-model.onnx`, `decoder_joint-model.onnx`,
or the two models with `.int8` before `.onnx`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from barnabee.audio.samples import STT_RATE_HZ, Samples, split_windows
from barnabee.core import manifest
from barnabee.core.errors import Misconfigured
from barnabee.gpu.engines.base import (
    Device,
    Segment,
    Word,
    make_session_options,
    require_cuda,
    select_providers,
)

if TYPE_CHECKING:
    from onnx_asr.adapters import TimestampedResultsAsrAdapter
    from onnx_asr.asr import TimestampedResult

MODEL_TYPE = "nemo-conformer-tdt"
REQUIRED_FILES = ("config.json", "vocab.txt")
# Shorter audio is padded: the mel bands are normalised over time.
MIN_DURATION_S = 0.5
# The English models (v2, 1.1b) have 1024 tokens, the one with 25 languages (v3) has 8192.
ENGLISH_VOCABULARY = 4096
# The longest step of a TDT model is 4 encoder frames of 80 ms.
MAX_TOKEN_S = 0.32
ENGLISH = frozenset({"en"})
EUROPEAN = (
    ENGLISH
    | {"bg", "cs", "da", "de", "el", "es", "et", "fi", "fr", "hr", "hu", "it"}
    | {"lt", "lv", "mt", "nl", "pl", "pt", "ro", "ru", "sk", "sl", "sv", "uk"}
)

_SENTENCE_ENDS = (".", "?", "!", "…")
_QUOTES = "\"'\u201d\u2019)»"
_PUNCTUATION = frozenset(f".,;:!?…%]{_QUOTES}")


class Parakeet:
    """A loaded Parakeet model."""

    def __init__(self, model: TimestampedResultsAsrAdapter, languages: frozenset[str]) -> None:
        """Take a model with timestamps; use `load`."""
        self._model = model
        self._languages = languages

    @classmethod
    def load(cls, directory: Path, *, device: Device) -> Parakeet:
        """Verify and load a model folder.

        Raises ModelMissing, ModelDamaged, or Misconfigured when the folder is no NeMo TDT export or
        the device cannot be used.
        """
        providers = select_providers(device)
        manifest.verify_directory(directory)
        for name in REQUIRED_FILES:
            if not (directory / name).is_file():
                raise Misconfigured(what=f"{directory / name} is missing: a NeMo TDT export has it")
        import onnx_asr  # noqa: PLC0415 - heavy

        model = onnx_asr.load_model(
            MODEL_TYPE,
            path=directory,
            quantization=_find_quantization(directory),
            sess_options=make_session_options(device),
            providers=providers,
        )
        encoder: Any = vars(model.asr)["_encoder"]  # it has no public name
        require_cuda(encoder, device)
        return cls(model.with_timestamps(), read_languages(directory / "vocab.txt"))

    @property
    def languages(self) -> frozenset[str]:
        return self._languages

    def warm_up(self) -> None:
        """Run preprocessor, encoder and decoder once, on one second of noise."""
        noise = np.random.default_rng(0).normal(0, 0.01, STT_RATE_HZ).astype(np.float32)
        self._model.recognize(noise)

    def close(self) -> None:
        del self._model

    def transcribe(
        self, samples: Samples, *, language: str, words: bool = False
    ) -> Iterator[Segment]:
        del language  # the model detects it; callers check it against `languages`
        for start_s, window in split_windows(samples):
            missing = int(MIN_DURATION_S * STT_RATE_HZ) - len(window)
            result = self._model.recognize(np.pad(window, (0, missing)) if missing > 0 else window)
            end_s = start_s + len(window) / STT_RATE_HZ
            yield from make_segments(_read_tokens(result, start_s), end_s, words=words)


def read_languages(vocabulary: Path) -> frozenset[str]:
    """Return the languages of a model, by the size of its vocabulary (one token per line)."""
    with vocabulary.open("rb") as file:
        return ENGLISH if sum(1 for _ in file) < ENGLISH_VOCABULARY else EUROPEAN


def _find_quantization(directory: Path) -> str | None:
    return None if (directory / "encoder-model.onnx").is_file() else "int8"


def _read_tokens(result: TimestampedResult, start_s: float) -> list[DecodedToken]:
    rows: Any = zip(
        result.tokens or (), result.timestamps or (), result.logprobs or (), strict=True
    )
    return [DecodedToken(text, start_s + at_s, log) for text, at_s, log in rows]


# ---- tokens to words and sentences ----
#
# A transducer reports when a token begins and its probability, not when it ends. A leading blank
# marks the first token of a word.


@dataclass(frozen=True, slots=True)
class DecodedToken:
    """Part of a word."""

    text: str
    start_s: float
    log_probability: float


@dataclass
class _WordBuilder:
    text: str
    start_s: float
    last_s: float
    logs: list[float] = field(default_factory=list)

    def build(self, next_s: float) -> Word:
        end_s = max(self.last_s, min(next_s, self.last_s + MAX_TOKEN_S))
        confidence = min(1.0, math.exp(sum(self.logs) / len(self.logs)))
        return Word(self.start_s, end_s, self.text, confidence)


def make_segments(
    tokens: Sequence[DecodedToken], end_s: float, *, words: bool
) -> Iterator[Segment]:
    """Yield one segment for each sentence; `end_s` is the end of the audio. Pure."""
    builders = _group_tokens(tokens)
    start = 0
    for number, builder in enumerate(builders, start=1):
        is_last = number == len(builders)
        if not is_last and not builder.text.rstrip(_QUOTES).endswith(_SENTENCE_ENDS):
            continue
        next_s = end_s if is_last else builders[number].start_s
        yield _make_segment(builders[start:number], next_s, words=words)
        start = number


def _make_segment(builders: Sequence[_WordBuilder], next_s: float, *, words: bool) -> Segment:
    starts = [*(builder.start_s for builder in builders[1:]), next_s]
    built = tuple(one.build(start_s) for one, start_s in zip(builders, starts, strict=True))
    logs = [log for builder in builders for log in builder.logs]
    return Segment(
        built[0].start_s,
        built[-1].end_s,
        "".join(word.text for word in built),
        sum(logs) / len(logs),
        0.0,  # a transducer has no such probability: it emits nothing for silence
        built if words else (),
    )


def _group_tokens(tokens: Sequence[DecodedToken]) -> list[_WordBuilder]:
    builders: list[_WordBuilder] = []
    for token in tokens:
        text = token.text.strip()
        if not text or (text.startswith("<") and text.endswith(">")):  # <unk>, <|nospeech|>
            continue
        is_punctuation = all(character in _PUNCTUATION for character in text)
        starts_word = token.text[:1].isspace() and not is_punctuation
        if starts_word or not builders:
            builders.append(_WordBuilder(f" {text}", token.start_s, token.start_s))
        else:
            builders[-1].text += text
            if not is_punctuation:  # its time is that of the silence after the word
                builders[-1].last_s = token.start_s
        builders[-1].logs.append(token.log_probability)
    return builders

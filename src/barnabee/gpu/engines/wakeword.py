"""Wake word engine: openWakeWord's models through onnxruntime, shared by all streams.

Three models in sequence: audio to mel spectrogram, spectrogram to features (Google's speech
embedding, arxiv.org/abs/2002.01322), features to a score for each word. Each stream keeps only the
last second of each. openWakeWord's own `Model` loads all models again for each microphone (34 MiB
and 0.4 s, measured with four words) and takes 101 MiB and 3 s to import;
tests/unit/gpu/engines/test_wakeword.py compares the scores of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnabee.audio.samples import STT_RATE_HZ
from barnabee.core import manifest
from barnabee.core.errors import Misconfigured, ModelDamaged
from barnabee.gpu.engines.base import WAKE_FRAME_SAMPLES, Device, open_session

# A frame of 80 ms takes one core 1.4 ms (1.6 with four words), most of it for the embedding. On a
# GPU it would be dozens of tiny kernels and a copy per model, and memory that others need.
DEVICE = Device("cpu", 1)
SHARED_MODELS = ("melspectrogram", "embedding_model")  # all other models are wake words
OVERLAP_SAMPLES = 480  # before a frame, for its first spectra: 3 hops of 10 ms
MELS, BANDS = 76, 32  # spectra (of 10 ms) and mel bands that make one row of features
FEATURES = 96
WARM_UP_FRAMES = 5  # scored 0: the buffers are not filled with audio yet

Rows = NDArray[np.float32]


class OpenWakeWord:
    """Loaded models."""

    def __init__(self, mel: Any, embedding: Any, heads: Mapping[str, Any]) -> None:
        """Take onnxruntime sessions; use `load`."""
        self._mel, self._embedding = mel, embedding
        self._heads = dict(heads)
        self._inputs = {name: head.get_inputs()[0] for name, head in heads.items()}
        self._rows = max(int(one.shape[1]) for one in self._inputs.values())
        self.initial_features = self._compute_noise_features()

    @classmethod
    def load(cls, directory: Path, required: Sequence[str]) -> OpenWakeWord:
        """Verify and load a folder; every `*.onnx` other than SHARED_MODELS is a wake word.

        Raises ModelMissing, ModelDamaged, or Misconfigured when a word of `required` is missing.
        """
        manifest.verify_directory(directory)
        files = manifest.read_manifest(directory)
        names = {Path(name).stem for name in files if name.endswith(".onnx")}
        absent = [name for name in SHARED_MODELS if name not in names]
        words = sorted(names - set(SHARED_MODELS))
        if absent or not words:
            reason = f"it lists no {absent[0]}.onnx" if absent else "it lists no word"
            raise ModelDamaged(path=directory / manifest.MANIFEST_NAME, reason=reason)
        unknown = sorted(set(required) - set(words))
        if unknown:
            what = f"wake.words in system.toml names {', '.join(unknown)}, which no model knows"
            raise Misconfigured(what=f"{what}; known are {', '.join(words)}")
        sessions = {
            name: open_session(directory / f"{name}.onnx", device=DEVICE)
            for name in (*SHARED_MODELS, *words)
        }
        mel, embedding = (sessions.pop(name) for name in SHARED_MODELS)
        return cls(mel, embedding, sessions)

    @property
    def words(self) -> Sequence[str]:
        return tuple(sorted(self._heads))

    def warm_up(self) -> None:
        """Score one silent frame with every word."""
        self.open_stream(self.words).score_frame(np.zeros(WAKE_FRAME_SAMPLES, np.int16))

    def close(self) -> None:
        del self._mel, self._embedding, self._heads

    def open_stream(self, words: Sequence[str]) -> OpenWakeWordStream:
        return OpenWakeWordStream(self, tuple(words))

    def compute_spectra(self, samples: NDArray[np.int16]) -> Rows:
        """Return the mel spectra, (n // 160 - 3, 32), of (n,) samples."""
        (mel,) = self._mel.run(None, {"input": samples[None, :].astype(np.float32)})
        # the scale of the spectrogram that the embedding was trained on
        return np.asarray(mel.reshape(-1, BANDS) / np.float32(10) + np.float32(2))

    def compute_features(self, spectra: Rows) -> Rows:
        """Return (n, 96) features of (n, 76, 32) spectra."""
        (features,) = self._embedding.run(None, {"input_1": spectra[..., None]})
        return np.asarray(features.reshape(-1, FEATURES))

    def score_word(self, word: str, features: Rows) -> float:
        """Return the word's score for the latest rows of `features`, 0 to 1."""
        model_input = self._inputs[word]
        rows = features[None, -int(model_input.shape[1]) :]
        return float(self._heads[word].run(None, {model_input.name: rows})[0].reshape(-1)[0])

    def _compute_noise_features(self) -> Rows:
        """Return the initial features of a stream, computed from reproducible noise."""
        noise = np.random.default_rng(0).integers(-1000, 1000, 4 * STT_RATE_HZ, np.int16)
        spectra = self.compute_spectra(noise)
        starts = range(0, len(spectra) - MELS + 1, 8)
        rows = self.compute_features(np.stack([spectra[start : start + MELS] for start in starts]))
        return rows[-self._rows :]


class OpenWakeWordStream:
    """Recent audio, spectra and features of one microphone: 20 KiB, no model."""

    def __init__(self, engine: OpenWakeWord, words: Sequence[str]) -> None:
        self._engine, self._words = engine, words
        self._tail = np.zeros(0, np.int16)
        self._spectra: Rows = np.ones((MELS, BANDS), np.float32)
        self._features = engine.initial_features
        self._frames = 0

    def score_frame(self, frame: NDArray[np.int16]) -> Mapping[str, float]:
        samples = np.concatenate([self._tail, frame])
        self._tail = samples[-OVERLAP_SAMPLES:]
        spectra = self._engine.compute_spectra(samples)
        self._spectra = np.concatenate([self._spectra, spectra])[-MELS:]
        row = self._engine.compute_features(self._spectra[None])
        self._features = np.concatenate([self._features[1:], row])
        self._frames += 1
        if self._frames <= WARM_UP_FRAMES:
            return dict.fromkeys(self._words, 0.0)
        return {word: self._engine.score_word(word, self._features) for word in self._words}

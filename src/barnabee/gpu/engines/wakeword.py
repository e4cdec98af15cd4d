"""Wake words with openWakeWord's models through onnxruntime, many microphones on one set of them.

Three models in a row: sound to a mel spectrogram, spectrogram to features (Google's speech
embedding, arxiv.org/abs/2002.01322), features to a score for each word. Every microphone keeps the
last second of each by itself; the models are shared. The library's own `Model` loads all of them
again for each microphone (34 MiB and 0.4 s, measured with four words) and needs 101 MiB and 3 s to
be imported; tests/unit/gpu/engines/test_wakeword.py holds these scores against the library's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnabee.core import manifest
from barnabee.core.errors import Misconfigured, ModelDamaged
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.onnx import open_session
from barnabee.gpu.engines.protocols import STT_RATE_HZ, WAKE_FRAME

# 80 ms of sound are 1.4 ms of work for one core (1.6 with four words), most of it the embedding.
# On a card that would be dozens of launches of tiny kernels and a copy for each model: nothing to
# win for a frame that may take 80, and a card's memory and time are for those who need them.
DEVICE = Device("cpu", 1)
EARS = ("melspectrogram", "embedding_model")  # what is in the folder beside the words
OVERLAP = 480  # samples before a frame that its first spectra need: 3 hops of 10 ms
MELS, BANDS = 76, 32  # spectra of 10 ms that make one row of features
FEATURES = 96
# Until this many frames were heard every score is 0: nothing real stands in the buffers yet.
DEAF_FRAMES = 5

Rows = NDArray[np.float32]


class WakeWord:
    """The loaded models."""

    def __init__(self, mel: Any, embedding: Any, heads: Mapping[str, Any]) -> None:
        """Take loaded sessions; use `load`."""
        self._mel, self._embedding = mel, embedding
        self._heads = dict(heads)
        self._inputs = {name: head.get_inputs()[0] for name, head in heads.items()}
        self._rows = max(int(one.shape[1]) for one in self._inputs.values())
        self.before = self._features_of_noise()

    @classmethod
    def load(cls, directory: Path, wanted: Sequence[str]) -> WakeWord:
        """Verify and load the folder; every `*.onnx` beside the two of `EARS` is a word.

        ModelMissing or ModelDamaged when it is not whole; Misconfigured when a word of `wanted` is
        not among them.
        """
        manifest.verify(directory)
        names = {Path(name).stem for name in manifest.read(directory) if name.endswith(".onnx")}
        absent = [name for name in EARS if name not in names]
        words = sorted(names - set(EARS))
        if absent or not words:
            what = f"it lists no {absent[0]}.onnx" if absent else "it lists no word"
            raise ModelDamaged(path=directory / manifest.NAME, reason=what)
        unknown = sorted(set(wanted) - set(words))
        if unknown:
            what = f"wake.words in system.toml names {', '.join(unknown)}, which no model knows"
            raise Misconfigured(what=f"{what}; known are {', '.join(words)}")
        sessions = {
            name: open_session(directory / f"{name}.onnx", device=DEVICE)
            for name in (*EARS, *words)
        }
        mel, embedding = (sessions.pop(name) for name in EARS)
        return cls(mel, embedding, sessions)

    @property
    def words(self) -> Sequence[str]:
        """Return the names of the words it knows."""
        return tuple(sorted(self._heads))

    def warm_up(self) -> None:
        """Hear one quiet frame with every word."""
        self.listener(self.words).hear(np.zeros(WAKE_FRAME, np.int16))

    def close(self) -> None:
        """Let go of the models."""
        del self._mel, self._embedding, self._heads

    def listener(self, words: Sequence[str]) -> Ear:
        """Return a fresh ear for `words`: 20 KiB of buffers, no model."""
        return Ear(self, tuple(words))

    def spectra(self, samples: NDArray[np.int16]) -> Rows:
        """Return the mel spectra, (n // 160 - 3, 32), of (n,) samples."""
        (found,) = self._mel.run(None, {"input": samples[None, :].astype(np.float32)})
        # the scale of the spectrogram that the embedding was trained on
        return np.asarray(found.reshape(-1, BANDS) / np.float32(10) + np.float32(2))

    def features(self, spectra: Rows) -> Rows:
        """Return (n, 96) features of (n, 76, 32) spectra."""
        (found,) = self._embedding.run(None, {"input_1": spectra[..., None]})
        return np.asarray(found.reshape(-1, FEATURES))

    def score(self, word: str, features: Rows) -> float:
        """Return how sure the word's model is of having heard it, 0 to 1."""
        wanted = self._inputs[word]
        rows = features[None, -int(wanted.shape[1]) :]
        return float(self._heads[word].run(None, {wanted.name: rows})[0].reshape(-1)[0])

    def _features_of_noise(self) -> Rows:
        """Return what an ear that has heard nothing believes to have heard: the same every time."""
        noise = np.random.default_rng(0).integers(-1000, 1000, 4 * STT_RATE_HZ, np.int16)
        spectra = self.spectra(noise)
        starts = range(0, len(spectra) - MELS + 1, 8)
        rows = self.features(np.stack([spectra[start : start + MELS] for start in starts]))
        return rows[-self._rows :]


class Ear:
    """What one microphone was heard to say in the last two seconds."""

    def __init__(self, engine: WakeWord, words: Sequence[str]) -> None:
        """Begin deaf; use `WakeWord.listener`."""
        self._engine, self._words = engine, words
        self._tail = np.zeros(0, np.int16)
        self._spectra: Rows = np.ones((MELS, BANDS), np.float32)
        self._features = engine.before
        self._heard = 0

    def hear(self, frame: NDArray[np.int16]) -> Mapping[str, float]:
        """Take the next (1280,) samples, 80 ms at 16 kHz; return each word's score, 0 to 1."""
        samples = np.concatenate([self._tail, frame])
        self._tail = samples[-OVERLAP:]
        fresh = self._engine.spectra(samples)
        self._spectra = np.concatenate([self._spectra, fresh])[-MELS:]
        row = self._engine.features(self._spectra[None])
        self._features = np.concatenate([self._features[1:], row])
        self._heard += 1
        if self._heard <= DEAF_FRAMES:
            return dict.fromkeys(self._words, 0.0)
        return {word: self._engine.score(word, self._features) for word in self._words}

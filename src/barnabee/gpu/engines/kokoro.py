"""Text to speech with Kokoro through kokoro-onnx and onnxruntime on a CPU.

The house's voice is a blend of stock voices, mixed once when the model is loaded: a voice is a
table of style vectors, and a weighted mean of two tables is a voice between them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from barnabee.core import manifest
from barnabee.core.errors import BadRequest, Misconfigured
from barnabee.core.tables import Voice
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.onnx import open_session
from barnabee.gpu.engines.protocols import Samples
from barnabee.gpu.phrases import Phrase, phrases

if TYPE_CHECKING:
    from kokoro_onnx import Kokoro as KokoroModel

VoiceTable = NDArray[np.float32]  # (510, 1, 256): a style vector for each count of phonemes
SAMPLE_RATE_HZ = 24_000


class Kokoro:
    """One loaded Kokoro model and its voices."""

    def __init__(self, model: KokoroModel, own: str, accent: str, blend: VoiceTable) -> None:
        """Take a loaded model and the house's voice; use `load`."""
        self._model = model
        self._own, self._accent, self._blend = own, accent, blend
        self._voices = (own, *sorted(model.get_voices()))

    @classmethod
    def load(cls, directory: Path, voice: Voice, *, device: Device) -> Kokoro:
        """Verify and load the folder; ModelMissing or ModelDamaged when it is not whole."""
        manifest.verify(directory)
        from kokoro_onnx import Kokoro as KokoroModel  # noqa: PLC0415 - heavy

        session = open_session(directory / "model.onnx", device=device)
        model = KokoroModel.from_session(session, str(directory / "voices.npz"))
        unknown = sorted(set(voice.blend) - set(model.get_voices()))
        if unknown:
            raise Misconfigured(what=f"voice.blend names voices Kokoro does not have: {unknown}")
        blend = mix({name: model.get_voice_style(name) for name in voice.blend}, voice.blend)
        heaviest = max(voice.blend, key=lambda name: voice.blend[name])
        return cls(model, voice.name, accent_of(heaviest), blend)

    @property
    def sample_rate_hz(self) -> int:
        """Return the rate of what `speak` yields."""
        return SAMPLE_RATE_HZ

    @property
    def voices(self) -> Sequence[str]:
        """Return the house's voice and the stock voices."""
        return self._voices

    def warm_up(self) -> None:
        """Say one short word fast: the whole way is gone for half the time of a slow one."""
        for _ in self.speak("Oh.", voice=self._own, speed=2.0):
            pass

    def close(self) -> None:
        """Let go of the model."""
        del self._model

    def speak(self, text: str, *, voice: str, speed: float) -> Iterator[Samples]:
        """Yield `text` spoken, a phrase at a time."""
        own = voice == self._own
        style = self._blend if own else self._model.get_voice_style(voice)
        accent = self._accent if own else accent_of(voice)
        said = False
        for phrase in phrases(text):
            phonemes = self._model.tokenizer.phonemize(phrase.text, accent)
            if not phonemes.strip(" .,!?;:—…\"'“”()"):
                continue
            yield self._say(phrase, phonemes, style, speed)
            said = True
        if not said:
            raise BadRequest(field="field `input`", reason="nothing in it can be spoken")

    def _say(self, phrase: Phrase, phonemes: str, style: VoiceTable, speed: float) -> Samples:
        samples, _ = self._model.create(phonemes, style, speed, is_phonemes=True)
        pause = np.zeros(int(phrase.pause_s / speed * SAMPLE_RATE_HZ), np.float32)
        return np.concatenate([samples.astype(np.float32, copy=False), pause])


def mix(tables: Mapping[str, VoiceTable], weights: Mapping[str, int]) -> VoiceTable:
    """Return the mean of voice tables, weighted in percent. Pure."""
    total = np.float32(sum(weights.values()))
    parts = [tables[name] * (np.float32(weight) / total) for name, weight in weights.items()]
    return np.asarray(np.sum(parts, axis=0), np.float32)


def accent_of(voice: str) -> str:
    """Return the language a stock voice speaks: names begin with b for British, a for American."""
    return "en-gb" if voice.startswith("b") else "en-us"

"""What Kokoro's two engines share: reading a text, phrases, voices and their blend.

The house's voice is a blend of stock voices, mixed once when the model is loaded: a voice is a
table of style vectors, and a weighted mean of two tables is a voice between them. Both engines read
through kokoro-onnx (espeak-ng for the sounds, then its cutting, trimming and choice of style); what
differs is the network behind it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from barnabee.audio.loudness import even
from barnabee.core.errors import BadRequest, Misconfigured
from barnabee.core.schema import Voice
from barnabee.gpu.engines.protocols import Samples
from barnabee.gpu.phrases import Phrase, phrases

if TYPE_CHECKING:
    from kokoro_onnx import Kokoro as KokoroModel

VoiceTable = NDArray[np.float32]  # (510, 1, 256): a style vector for each count of phonemes
SAMPLE_RATE_HZ = 24_000


class Speaker:
    """A loaded Kokoro, whatever computes it, and its voices."""

    def __init__(self, model: KokoroModel, voice: Voice) -> None:
        """Mix the house's voice; Misconfigured when it is made of voices that are not there."""
        unknown = sorted(set(voice.blend) - set(model.get_voices()))
        if unknown:
            raise Misconfigured(what=f"voice.blend names voices Kokoro does not have: {unknown}")
        self._model = model
        self._own = voice.name
        self._blend = mix({one: model.get_voice_style(one) for one in voice.blend}, voice.blend)
        self._accent = accent_of(max(voice.blend, key=lambda one: voice.blend[one]))
        self._voices = (voice.name, *sorted(model.get_voices()))
        self._sounds = {word.lower(): sound for word, sound in voice.sounds.items()}

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
        """Yield `text` spoken, a phrase at a time, all at one loudness."""
        return even(self._phrases(text, voice, speed), SAMPLE_RATE_HZ)

    def _phrases(self, text: str, voice: str, speed: float) -> Iterator[Samples]:
        own = voice == self._own
        style = self._blend if own else self._model.get_voice_style(voice)
        accent = self._accent if own else accent_of(voice)
        said = False
        for phrase in phrases(text):
            phonemes = self._read(phrase.text, accent)
            if not phonemes.strip(" .,!?;:—…\"'“”()"):
                continue
            yield self._say(phrase, phonemes, style, speed)
            said = True
        if not said:
            raise BadRequest(field="field `input`", reason="nothing in it can be spoken")

    def _read(self, text: str, accent: str) -> str:
        """Return the phonemes of `text`; what stands between words of `sounds`, espeak reads."""
        return " ".join(
            self._sounds.get(part.lower()) or self._model.tokenizer.phonemize(part, accent)
            for part in apart(text, self._sounds)
        )

    def _say(self, phrase: Phrase, phonemes: str, style: VoiceTable, speed: float) -> Samples:
        samples, _ = self._model.create(phonemes, style, speed, is_phonemes=True)
        pause = np.zeros(int(phrase.pause_s / speed * SAMPLE_RATE_HZ), np.float32)
        return np.concatenate([samples.astype(np.float32, copy=False), pause])


def apart(text: str, words: Collection[str]) -> list[str]:
    """Return `text` cut around every whole word of `words` (lower case), blanks left out. Pure."""
    if not words:
        return [text]
    known = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    parts = re.split(rf"(?<![\w'-])({known})(?![\w'-])", text, flags=re.IGNORECASE)
    return [part.strip() for part in parts if part.strip()]


def mix(tables: Mapping[str, VoiceTable], weights: Mapping[str, int]) -> VoiceTable:
    """Return the mean of voice tables, weighted in percent. Pure."""
    total = np.float32(sum(weights.values()))
    parts = [tables[name] * (np.float32(weight) / total) for name, weight in weights.items()]
    return np.asarray(np.sum(parts, axis=0), np.float32)


def accent_of(voice: str) -> str:
    """Return the language a stock voice speaks: names begin with b for British, a for American."""
    return "en-gb" if voice.startswith("b") else "en-us"

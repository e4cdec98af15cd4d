"""Kokoro text-to-speech: what its engines share, onnxruntime for a CPU, torch for a GPU.

The default voice is a blend of stock voices, mixed once at load: a voice is a table of style
vectors, and a weighted mean of tables is a voice between them. Both engines use kokoro-onnx for
all but the network: espeak-ng for the phonemes, then splitting, trimming and choice of style.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from barnabee.audio.samples import Samples, normalise_loudness
from barnabee.core import manifest
from barnabee.core.errors import BadRequest, Misconfigured
from barnabee.core.schema import VoiceConfig
from barnabee.gpu.engines.base import Device, open_session, open_torch
from barnabee.gpu.phrases import Phrase, split_phrases

if TYPE_CHECKING:
    from kokoro_onnx import Kokoro as KokoroModel

VoiceTable = NDArray[np.float32]  # (510, 1, 256): a style vector for each number of phonemes
SAMPLE_RATE_HZ = 24_000


class KokoroSpeaker:
    """A loaded Kokoro model on any runtime, and its voices."""

    def __init__(self, model: KokoroModel, voice: VoiceConfig) -> None:
        """Mix the default voice; Misconfigured when it names unknown stock voices."""
        unknown = sorted(set(voice.blend) - set(model.get_voices()))
        if unknown:
            raise Misconfigured(what=f"voice.blend names voices Kokoro does not have: {unknown}")
        self._model = model
        self._default = voice.name
        tables = {name: model.get_voice_style(name) for name in voice.blend}
        self._blend = mix_voices(tables, voice.blend)
        self._accent = find_accent(max(voice.blend, key=lambda name: voice.blend[name]))
        self._voices = (voice.name, *sorted(model.get_voices()))
        self._pronunciations = {word.lower(): sound for word, sound in voice.sounds.items()}

    @property
    def sample_rate_hz(self) -> int:
        return SAMPLE_RATE_HZ

    @property
    def voices(self) -> Sequence[str]:
        return self._voices

    def warm_up(self) -> None:
        """Synthesize one short word at double speed, which takes half the time."""
        for _ in self.speak("Oh.", voice=self._default, speed=2.0):
            pass

    def close(self) -> None:
        del self._model

    def speak(self, text: str, *, voice: str, speed: float) -> Iterator[Samples]:
        return normalise_loudness(self._speak_phrases(text, voice, speed), SAMPLE_RATE_HZ)

    def _speak_phrases(self, text: str, voice: str, speed: float) -> Iterator[Samples]:
        is_default = voice == self._default
        style = self._blend if is_default else self._model.get_voice_style(voice)
        accent = self._accent if is_default else find_accent(voice)
        spoken = False
        for phrase in split_phrases(text):
            phonemes = self._phonemize(phrase.text, accent)
            if not phonemes.strip(" .,!?;:—…\"'“”()"):
                continue
            yield self._synthesize(phrase, phonemes, style, speed)
            spoken = True
        if not spoken:
            raise BadRequest(field="field `input`", reason="it contains nothing that can be spoken")

    def _phonemize(self, text: str, accent: str) -> str:
        """Return phonemes: `voice.sounds` of system.toml for its words, espeak-ng for the rest."""
        return " ".join(
            self._pronunciations.get(part.lower()) or self._model.tokenizer.phonemize(part, accent)
            for part in split_at_words(text, self._pronunciations)
        )

    def _synthesize(
        self, phrase: Phrase, phonemes: str, style: VoiceTable, speed: float
    ) -> Samples:
        samples, _ = self._model.create(phonemes, style, speed, is_phonemes=True)
        pause = np.zeros(int(phrase.pause_s / speed * SAMPLE_RATE_HZ), np.float32)
        return np.concatenate([samples.astype(np.float32, copy=False), pause])


class Kokoro(KokoroSpeaker):
    """Kokoro through onnxruntime."""

    @classmethod
    def load(cls, directory: Path, voice: VoiceConfig, *, device: Device) -> Kokoro:
        """Verify and load a model folder; raises ModelMissing, ModelDamaged or Misconfigured."""
        manifest.verify_directory(directory)
        from kokoro_onnx import Kokoro as KokoroModel  # noqa: PLC0415 - heavy

        session = open_session(directory / "model.onnx", device=device)
        return cls(KokoroModel.from_session(session, str(directory / "voices.npz")), voice)


def split_at_words(text: str, words: Collection[str]) -> list[str]:
    """Split `text` around each whole word of `words` (lower case); no empty parts. Pure."""
    if not words:
        return [text]
    known = "|".join(re.escape(word) for word in sorted(words, key=len, reverse=True))
    parts = re.split(rf"(?<![\w'-])({known})(?![\w'-])", text, flags=re.IGNORECASE)
    return [part.strip() for part in parts if part.strip()]


def mix_voices(tables: Mapping[str, VoiceTable], weights: Mapping[str, int]) -> VoiceTable:
    """Return the weighted mean of voice tables. Pure."""
    total = np.float32(sum(weights.values()))
    parts = [tables[name] * (np.float32(weight) / total) for name, weight in weights.items()]
    return np.asarray(np.sum(parts, axis=0), np.float32)


def find_accent(voice: str) -> str:
    """Return espeak-ng's language of a stock voice: its name begins with b (British) or a."""
    return "en-gb" if voice.startswith("b") else "en-us"


WEIGHTS = "kokoro-v1_0.pth"
REPOSITORY = "hexgrad/Kokoro-82M"  # the class requires a name; nothing is downloaded from it


class KokoroTorch(KokoroSpeaker):
    """Kokoro's own torch network (`kokoro.model`) in place of kokoro-onnx's onnxruntime session.

    Text is processed exactly as on a CPU. Nothing is downloaded: `config.json`, `kokoro-v1_0.pth`
    and the voices (`voices.npz`, or one `voices/<name>.pt` each) are in the model folder. kokoro's
    own text front end (misaki) is not used, because it would download a language model.
    """

    @classmethod
    def load(cls, directory: Path, voice: VoiceConfig, *, device: Device) -> KokoroTorch:
        """Verify and load a model folder.

        Raises ModelMissing, ModelDamaged, or Misconfigured when torch or kokoro is not installed,
        there is no GPU, or the folder holds no voices.
        """
        torch_device = open_torch(device)
        manifest.verify_directory(directory)
        try:
            from kokoro.model import KModel  # noqa: PLC0415 - heavy
        except ImportError as error:
            what = f"BARNABEE_DEVICE=cuda needs kokoro ({error}): install the extra `gpu`"
            raise Misconfigured(what=what) from error
        from kokoro_onnx import Kokoro as KokoroModel  # noqa: PLC0415 - heavy

        config = json.loads((directory / "config.json").read_bytes())
        weights = str(directory / WEIGHTS)
        network = KModel(REPOSITORY, config=config, model=weights)
        session = TorchSession(network.to(torch_device).eval(), torch_device, weights)
        with tempfile.NamedTemporaryFile(suffix=".npz") as file:
            tables = read_voices(directory)
            np.savez(file, allow_pickle=False, **tables)  # the constructor requires a file
            file.flush()
            model = KokoroModel.from_session(session, file.name, vocab_config=config)
        model.voices = tables
        return cls(model, voice)


@dataclass(frozen=True)
class TensorInfo:
    """Description of an input or output, as in onnxruntime."""

    name: str
    type: str = "tensor(float)"


@dataclass(frozen=True)
class ModelMetadata:
    """Model metadata as in onnxruntime; empty."""

    custom_metadata_map: Mapping[str, str] = field(default_factory=dict)


class TorchSession:
    """Adapter of a torch network to the part of onnxruntime's session API that kokoro-onnx uses."""

    def __init__(self, network: Any, torch_device: Any, path: str) -> None:
        """Take a `KModel`, its `torch.device` and its file."""
        self._network, self._device = network, torch_device
        self._model_path = path

    def get_inputs(self) -> Sequence[TensorInfo]:
        return (TensorInfo("input_ids", "tensor(int64)"), TensorInfo("style"), TensorInfo("speed"))

    def get_outputs(self) -> Sequence[TensorInfo]:
        return (TensorInfo("audio"),)

    def get_modelmeta(self) -> ModelMetadata:
        return ModelMetadata()

    def run(self, _names: None, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Return (n,) samples at 24 kHz for input_ids (1, phonemes + 2), style (1, 256), speed."""
        import torch  # noqa: PLC0415 - loaded already

        tokens = torch.from_numpy(inputs["input_ids"]).to(self._device)
        style = torch.from_numpy(inputs["style"]).to(self._device)
        audio, _ = self._network.forward_with_tokens(tokens, style, float(inputs["speed"][0]))
        return [audio.float().cpu().numpy()]


def read_voices(directory: Path) -> dict[str, VoiceTable]:
    """Return the voices of a model folder by name; Misconfigured when there are none."""
    tables: dict[str, VoiceTable] = {}
    if (directory / "voices.npz").is_file():
        with np.load(directory / "voices.npz") as archive:
            tables |= {name: archive[name] for name in archive.files}
    for path in sorted(directory.glob("voices/*.pt")):
        import torch  # noqa: PLC0415 - loaded already

        table = torch.load(path, map_location="cpu", weights_only=True)
        tables[path.stem] = np.asarray(table, np.float32)
    if not tables:
        raise Misconfigured(what=f"{directory} has no voices (voices.npz or voices/*.pt)")
    return tables

"""Kokoro text-to-speech engine for a GPU, with Kokoro's own torch network.

The network (`kokoro.model`) replaces the onnxruntime session of kokoro-onnx, so that text is
processed exactly as on a CPU. Nothing is downloaded: `config.json`, `kokoro-v1_0.pth` and the
voices (`voices.npz`, or one `voices/<name>.pt` each) are in the model folder. kokoro's own text
front end (misaki) is not used, because it would download a language model.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from barnabee.core import manifest
from barnabee.core.errors import Misconfigured
from barnabee.core.schema import VoiceConfig
from barnabee.gpu.engines.device import Device, open_torch
from barnabee.gpu.engines.kokoro import KokoroSpeaker, VoiceTable

WEIGHTS = "kokoro-v1_0.pth"
REPOSITORY = "hexgrad/Kokoro-82M"  # the class requires a name; nothing is downloaded from it


class KokoroTorch(KokoroSpeaker):
    """Kokoro through torch."""

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

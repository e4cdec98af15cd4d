"""Text to speech with Kokoro's own torch network, for a card.

The network (`kokoro.model`) stands where kokoro-onnx expects an onnxruntime session, so a text is
read, cut and trimmed exactly as by the CPU's engine. Nothing is fetched: `config.json`,
`kokoro-v1_0.pth` and the voices (`voices.npz`, or one `voices/<name>.pt` each) come out of the
folder. kokoro's own reader (misaki) is not used, it would download a language model.
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
from barnabee.core.schema import Voice
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.kokoro_speaker import Speaker, VoiceTable
from barnabee.gpu.engines.torch_runtime import open_torch

WEIGHTS = "kokoro-v1_0.pth"
REPOSITORY = "hexgrad/Kokoro-82M"  # a name the class wants to hear; nothing is fetched from it


class KokoroTorch(Speaker):
    """One loaded Kokoro network and its voices."""

    @classmethod
    def load(cls, directory: Path, voice: Voice, *, device: Device) -> KokoroTorch:
        """Verify and load the folder.

        Raises ModelMissing or ModelDamaged when it is not whole, Misconfigured when torch or kokoro
        is missing, there is no card, or the folder is no Kokoro.
        """
        place = open_torch(device)
        manifest.verify(directory)
        try:
            from kokoro.model import KModel  # noqa: PLC0415 - heavy
        except ImportError as error:
            what = f"BARNABEE_DEVICE=cuda needs kokoro ({error}): install the extra `gpu`"
            raise Misconfigured(what=what) from error
        from kokoro_onnx import Kokoro as KokoroModel  # noqa: PLC0415 - heavy

        config = json.loads((directory / "config.json").read_bytes())
        weights = str(directory / WEIGHTS)
        network = KModel(REPOSITORY, config=config, model=weights)
        session = TorchSession(network.to(place).eval(), place, weights)
        with tempfile.NamedTemporaryFile(suffix=".npz") as file:
            tables = voices(directory)
            np.savez(file, allow_pickle=False, **tables)  # the library wants a file to begin with
            file.flush()
            model = KokoroModel.from_session(session, file.name, vocab_config=config)
        model.voices = tables
        return cls(model, voice)


@dataclass(frozen=True)
class Tensor:
    """What onnxruntime says of an input or output."""

    name: str
    type: str = "tensor(float)"


@dataclass(frozen=True)
class Meta:
    """What onnxruntime says of a model: nothing here."""

    custom_metadata_map: Mapping[str, str] = field(default_factory=dict)


class TorchSession:
    """A torch network with the face of an onnxruntime session: as much of it as is used."""

    def __init__(self, network: Any, place: Any, path: str) -> None:
        """Take a `KModel`, the device it is on, and the file it came from."""
        self._network, self._place = network, place
        self._model_path = path

    def get_inputs(self) -> Sequence[Tensor]:
        """Return the names and types of `run`'s inputs."""
        return (Tensor("input_ids", "tensor(int64)"), Tensor("style"), Tensor("speed"))

    def get_outputs(self) -> Sequence[Tensor]:
        """Return the names and types of `run`'s outputs."""
        return (Tensor("audio"),)

    def get_modelmeta(self) -> Meta:
        """Return what else is known of the model."""
        return Meta()

    def run(self, _names: None, inputs: Mapping[str, NDArray[Any]]) -> list[NDArray[np.float32]]:
        """Return the sound (n,) at 24 kHz of input_ids (1, phonemes + 2), style (1, 256), speed."""
        import torch  # noqa: PLC0415 - loaded already

        tokens = torch.from_numpy(inputs["input_ids"]).to(self._place)
        style = torch.from_numpy(inputs["style"]).to(self._place)
        sound, _ = self._network.forward_with_tokens(tokens, style, float(inputs["speed"][0]))
        return [sound.float().cpu().numpy()]


def voices(directory: Path) -> dict[str, VoiceTable]:
    """Return the voices of a folder by name; Misconfigured when there are none."""
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

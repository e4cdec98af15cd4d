"""Text to speech with Kokoro through onnxruntime: what speaks where there is no card."""

from __future__ import annotations

from pathlib import Path

from barnabee.core import manifest
from barnabee.core.schema import Voice
from barnabee.gpu.engines.device import Device
from barnabee.gpu.engines.kokoro_speaker import Speaker
from barnabee.gpu.engines.onnx import open_session


class Kokoro(Speaker):
    """One loaded Kokoro model and its voices."""

    @classmethod
    def load(cls, directory: Path, voice: Voice, *, device: Device) -> Kokoro:
        """Verify and load the folder; ModelMissing or ModelDamaged when it is not whole."""
        manifest.verify(directory)
        from kokoro_onnx import Kokoro as KokoroModel  # noqa: PLC0415 - heavy

        session = open_session(directory / "model.onnx", device=device)
        return cls(KokoroModel.from_session(session, str(directory / "voices.npz")), voice)

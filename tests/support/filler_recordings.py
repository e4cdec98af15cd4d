"""Recorded phrases, made with a running inference service."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from barnabee.audio.samples import Samples
from barnabee.core import system
from barnabee.voice.fillers import PhraseSynthesizer, generate_recordings
from support.gpu import ROOT, GpuProcess

RATE_HZ = 24_000


def record_fillers(gpu: GpuProcess, folder: Path) -> Path:
    """Record all phrases into `folder`; return it."""

    def speak(phrase: str) -> Samples:
        body = {"model": "tts-1", "input": phrase, "response_format": "pcm"}
        with gpu.client() as client:
            pcm = client.post("/v1/audio/speech", json=body).raise_for_status().content
        return (np.frombuffer(pcm, "<i2") / 32768).astype(np.float32)

    graph = system.load_system(ROOT / "system.toml")
    generate_recordings(graph, PhraseSynthesizer(speak, {"test": 1}, RATE_HZ), folder)
    return folder

"""Recorded phrases, kept between tests: to record them takes half a minute of two cores.

The product records anew what is missing, damaged or of another phrase, voice or engine.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import numpy as np

from barnabee.audio.samples import Samples
from barnabee.core import system
from barnabee.voice.fillers import PhraseSynthesizer, generate_recordings
from support.gpu import ROOT, GpuProcess
from support.torch_env import find_cache

RATE_HZ = 24_000


def restore_recordings(folder: Path, kind: str) -> None:
    """Copy what an earlier test recorded into `folder`."""
    kept = _find_kept(kind)
    if kept.is_dir():
        shutil.copytree(kept, folder, dirs_exist_ok=True)


def keep_recordings(folder: Path, kind: str) -> None:
    kept = _find_kept(kind)
    kept.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent) as scratch:
        for file in folder.iterdir():
            Path(shutil.copy(file, scratch)).replace(kept / file.name)


def record_fillers(gpu: GpuProcess, folder: Path) -> Path:
    """Record all phrases into `folder`; return it."""

    def speak(phrase: str) -> Samples:
        body = {"model": "tts-1", "input": phrase, "response_format": "pcm"}
        with gpu.client() as client:
            pcm = client.post("/v1/audio/speech", json=body).raise_for_status().content
        return (np.frombuffer(pcm, "<i2") / 32768).astype(np.float32)

    graph = system.load_system(ROOT / "system.toml")
    restore_recordings(folder, "service")
    generate_recordings(graph, PhraseSynthesizer(speak, {"test": 1}, RATE_HZ), folder)
    keep_recordings(folder, "service")
    return folder


def _find_kept(kind: str) -> Path:
    return find_cache() / "test-fillers" / kind

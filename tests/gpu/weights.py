"""Weights of a run: the real files that are at hand, and stand-ins of the real form for the rest.

Parakeet's stand-in is a small export that recognises tones; Kokoro's is its network in full size
with random weights; Whisper base stands in for Whisper medium. Speech of random weights is noise,
but takes the time and memory of the real network.
"""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

from barnabee.core import manifest
from gpu.context import ROOT, Bench
from gpu.report import CheckFailed, PartMissing
from gpu.sections import SMALL_PARAKEET
from support import kokoro_network

BUILD_PARAKEET = "import sys, pathlib; from support import parakeet_tdt as p; "
BUILD_PARAKEET += "p.write_export(pathlib.Path(sys.argv[1]))"


def run(bench: Bench) -> None:
    """Fill `bench.models`; each model is a part of its own."""
    source = Path(os.environ["BARNABEE_MODELS"])
    bench.models.mkdir(parents=True, exist_ok=True)
    shared = ("whisper-base", "minilm", "kokoro-int8", "openwakeword")
    for name in shared:
        with bench.recorder.part(name):
            _link(bench, source / name, name)
    with bench.recorder.part("whisper"):
        _choose(bench, source, "whisper", "whisper-base")
    with bench.recorder.part("parakeet"):
        name = str(bench.cuda_model("parakeet").cuda_files)
        if not (source / name / manifest.MANIFEST_NAME).is_file():
            _build_parakeet(bench, source)
        _choose(bench, source, "parakeet", SMALL_PARAKEET)
    with bench.recorder.part("kokoro"):
        _make_kokoro(bench, source)


def _link(bench: Bench, folder: Path, name: str) -> None:
    size = sum(entry.size for entry in manifest.read_manifest(folder).values())
    target = bench.models / name
    target.unlink(missing_ok=True)
    target.symlink_to(folder.resolve())
    bench.recorder.record(f"files of {name}", size / 2**20, "MiB")


def _choose(bench: Bench, source: Path, model: str, stand_in: str) -> None:
    """Use the declared files, or `stand_in` under their name."""
    name = bench.files(model).name
    if (source / name / manifest.MANIFEST_NAME).is_file():
        _link(bench, source / name, name)
        return
    target = bench.models / name
    target.unlink(missing_ok=True)
    target.symlink_to((bench.models / stand_in).resolve())
    manifest.read_manifest(target)
    bench.recorder.record(f"files of {name}", f"stand-in: {stand_in}")


def _build_parakeet(bench: Bench, source: Path) -> None:
    target = bench.models / SMALL_PARAKEET
    if (target / manifest.MANIFEST_NAME).is_file():
        return
    if (source / SMALL_PARAKEET / manifest.MANIFEST_NAME).is_file():
        target.symlink_to((source / SMALL_PARAKEET).resolve())
        return
    python = sys.executable if find_spec("onnx") else bench.builder
    if not python:
        raise PartMissing("the package onnx is not installed, and no other Python has it")
    environment = {**os.environ, "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}"}
    command = [python, "-c", BUILD_PARAKEET, str(target)]
    done = subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    if done.returncode != 0:
        raise CheckFailed(done.stderr[-200:])


def _make_kokoro(bench: Bench, source: Path) -> None:
    name = bench.files("kokoro").name
    if (source / name / manifest.MANIFEST_NAME).is_file():
        _link(bench, source / name, name)
        return
    if not (bench.models / name / manifest.MANIFEST_NAME).is_file():
        config = kokoro_network.make_config() if bench.quick else kokoro_network.read_real_config()
        kokoro_network.write_files(bench.models / name, config)
    form = "small network" if bench.quick else "network of full size"
    bench.recorder.record(f"files of {name}", f"stand-in: {form}, random weights")

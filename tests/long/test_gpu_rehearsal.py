"""Sections of `./barnabee test --gpu` that need torch, rehearsed on the CPU."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gpu.report import read_rows
from support.gpu import find_models_dir
from support.torch_env import ROOT, make_torch_python

SECTIONS = ("Kokoro, torch", "out of memory", "eviction", "service", "embeddings")


@pytest.mark.timeout(3600)  # torch's environment may have to be installed
def test_every_section_gives_its_figures_on_a_cpu(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gpu", "--device", "cpu", "--quick", "--output", str(tmp_path)]
    command += ["--python", str(make_torch_python())]
    for name in SECTIONS:
        command += ["--section", name]
    environment = {
        **os.environ,
        "BARNABEE_MODELS": str(find_models_dir()),
        "PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}",
    }
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    rows = read_rows(tmp_path)
    assert not [row for row in rows if row.code], (tmp_path / "log.txt").read_text()[-4000:]
    assert done.returncode == 0, done.stderr
    values = {(row.section, row.name): row.value for row in rows}
    assert {row.section for row in rows} == {"machine", "weights", *SECTIONS}
    for engine in ("MiniLM", "Kokoro", "Whisper", "MiniLM ONNX"):
        for step in ("load", "inference"):
            assert values["out of memory", f"{engine}: {step} without memory"] == "vram_exhausted"
    assert values["out of memory", "manager: request without memory"] == "vram_taken"
    assert values["eviction", "Whisper asked for beside Kokoro"] == "vram_kept"
    assert float(values["service", "2 rooms"]) > 0
    assert float(values["embeddings", "4 clients, product rate / bare rate"]) > 0

"""Python and environment of the sections. Standard library only."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CUBLAS = ("libcublas.so", "libcublasLt.so")


def choose_python(device: str) -> str:
    """Return this Python if it has torch, else the one of an environment in the cache."""
    if find_spec("torch"):
        return sys.executable
    from support import torch_env  # noqa: PLC0415 - of the development environment

    if device == "cpu":
        return str(torch_env.make_torch_python())
    folder = ROOT / ".barnabee"
    folder.mkdir(exist_ok=True)
    merged = folder / "cuda-requirements.txt"
    merged.write_text(read_cuda_requirements("12"), encoding="utf-8")
    return str(torch_env.make_pinned_python("cuda", str(merged)))


def read_cuda_requirements(cuda: str) -> str:
    """Return requirements/gpu.txt with onnxruntime-gpu for CUDA 12 or 13 instead of onnxruntime.

    Both packages contain the same module.
    """
    folder = ROOT / "requirements"
    blocks = re.split(r"\n(?=\S)", (folder / "gpu.txt").read_text(encoding="utf-8"))
    kept = [block for block in blocks if not block.startswith("onnxruntime==")]
    gpu = (folder / f"onnxruntime-gpu-cuda{cuda}.txt").read_text(encoding="utf-8")
    return "\n".join([*kept, gpu])


def make_environment(python: str, work: Path, *, use_cublas_13: bool) -> dict[str, str]:
    """Return the environment of the sections: our code, no model hubs, NVIDIA's libraries.

    CTranslate2 opens cuBLAS 12 by name and finds it as in the NixOS unit, by LD_LIBRARY_PATH. With
    `use_cublas_13` it gets version 13 under that name, which is an experiment.
    """
    folders = find_library_folders(python)
    if use_cublas_13:
        folders.insert(0, _rename_cublas(folders, work / "cublas-13-as-12"))
    return {
        **os.environ,
        "PYTHONPATH": _join(str(ROOT / "src"), str(ROOT / "tests"), os.environ.get("PYTHONPATH")),
        "LD_LIBRARY_PATH": _join(*map(str, folders), os.environ.get("LD_LIBRARY_PATH")),
        "HF_HUB_OFFLINE": "1",
        "PYTHONUNBUFFERED": "1",
    }


def find_library_folders(python: str) -> list[Path]:
    """Return the folders of the CUDA libraries that are installed as Python packages."""
    command = [python, "-c", "import json, sys; print(json.dumps(sys.path))"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    places = json.loads(done.stdout) if done.returncode == 0 else []
    return [folder for place in places for folder in sorted(Path(place).glob("nvidia/*/lib"))]


def _rename_cublas(folders: list[Path], target: Path) -> Path:
    target.mkdir(parents=True, exist_ok=True)
    for name in CUBLAS:
        found = next((one for folder in folders for one in folder.glob(f"{name}.13")), None)
        link = target / f"{name}.12"
        if found and not link.is_symlink():
            link.symlink_to(found)
    return target


def _join(*parts: str | None) -> str:
    return os.pathsep.join(filter(None, parts))

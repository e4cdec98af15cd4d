"""First section: what this machine has, and which later sections can run on it.

Standard library only. The reasons go to `requirements.json`: requirement -> reason, empty when met.
"""

from __future__ import annotations

import ctypes
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path

from gpu.report import MACHINE, Recorder

REQUIREMENTS = "requirements.json"
PACKAGES = (
    "torch",
    "sentence-transformers",
    "transformers",
    "kokoro",
    "kokoro-onnx",
    "onnxruntime",
    "onnxruntime-gpu",
    "onnx-asr",
    "onnx",
    "ctranslate2",
    "faster-whisper",
    "nvidia-ml-py",
    "numpy",
)
# Opened by CTranslate2 and onnxruntime at run time; wheels of NVIDIA install them beside torch.
LIBRARIES = ("libcuda.so.1", "libcudart.so", "libcublas.so", "libcudnn.so")
MODULES = {
    "product": (
        "pydantic",
        "pydantic_settings",
        "structlog",
        "prometheus_client",
        "psutil",
        "numpy",
    ),
    "torch": ("torch",),
    "minilm": ("torch", "sentence_transformers", "tokenizers"),
    "kokoro": ("torch", "kokoro", "misaki", "kokoro_onnx", "pyloudnorm"),
    "kokoro_onnx": ("kokoro_onnx", "onnxruntime", "pyloudnorm"),
    "onnxruntime": ("onnxruntime",),
    "onnx_asr": ("onnx_asr", "onnxruntime"),
    "whisper": ("faster_whisper", "ctranslate2"),
    "nvml": ("pynvml",),
    "service": ("fastapi", "uvicorn", "uvloop", "httptools", "python_multipart", "httpx", "av"),
}


def run(directory: Path, device: str) -> None:
    """Record the machine, then test every requirement."""
    recorder = Recorder(directory, MACHINE)
    _record_machine(recorder)
    unmet = {name: _find_missing(modules) for name, modules in MODULES.items()}
    (directory / REQUIREMENTS).write_text(json.dumps(unmet), encoding="utf-8")
    checks: dict[str, Callable[[Recorder, str], str]] = {
        "torch": _check_torch,
        "onnxruntime": _check_onnxruntime,
        "whisper": _check_ctranslate2,
    }
    for name, check in checks.items():
        if not unmet[name]:
            try:
                unmet[name] = check(recorder, device)
            except Exception as error:  # noqa: BLE001 - a broken library must not end the report
                unmet[name] = f"{name}: {error}"
    for name in ("minilm", "kokoro"):
        unmet[name] = unmet[name] or unmet["torch"]
    for name in ("kokoro_onnx", "onnx_asr"):
        unmet[name] = unmet[name] or unmet["onnxruntime"]
    (directory / REQUIREMENTS).write_text(json.dumps(unmet), encoding="utf-8")
    for name, reason in unmet.items():
        recorder.record(f"requirement `{name}`", f"missing: {reason}" if reason else "met")


def _record_machine(recorder: Recorder) -> None:
    recorder.record("date", time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()))
    recorder.record("Python", f"{platform.python_version()}, {sys.executable}")
    cores = len(os.sched_getaffinity(0))
    memory_mib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20
    recorder.record("system", f"{platform.platform()}, {cores} CPU cores, {memory_mib:,} MiB")
    for name, value in _ask_driver().items():
        recorder.record(name, value)
    versions = [f"{name} {version}" for name in PACKAGES if (version := _find_version(name))]
    recorder.record("packages", ", ".join(versions) or "none")
    recorder.record("libraries", ", ".join(_find_libraries()) or "no CUDA library found")


def _ask_driver() -> dict[str, str]:
    if not shutil.which("nvidia-smi"):
        return {"GPU": "no nvidia-smi"}
    fields = {
        "GPU": "name",
        "GPU memory": "memory.total",
        "driver": "driver_version",
        "compute capability": "compute_cap",
        "power limit": "power.limit",
    }
    query = f"--query-gpu={','.join(fields.values())}"
    command = ["nvidia-smi", query, "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        return {"GPU": f"nvidia-smi exited with {done.returncode}: {done.stdout.strip()}"}
    first = done.stdout.strip().splitlines()[0].split(", ")
    return dict(zip(fields, first, strict=False)) | {"CUDA of the driver": _ask_cuda_version()}


def _ask_cuda_version() -> str:
    done = subprocess.run(["nvidia-smi"], capture_output=True, text=True, timeout=30, check=False)
    found = re.search(r"CUDA Version: *([0-9.]+)", done.stdout)
    return found[1] if found else "unknown"


def _find_version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return ""


def _find_libraries() -> list[str]:
    """Return the CUDA libraries of the linker's cache and of NVIDIA's wheels."""
    command = [shutil.which("ldconfig") or "/sbin/ldconfig", "-p"]
    try:
        known = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        known = ""
    names = {line.split()[0] for line in known.splitlines() if line.strip().startswith(LIBRARIES)}
    for folder in map(Path, sys.path):
        names |= {
            path.name
            for path in folder.glob("nvidia/*/lib/*.so*")
            if path.name.startswith(LIBRARIES)
        }
    return sorted(names)


def _find_missing(modules: tuple[str, ...]) -> str:
    missing = [name for name in modules if find_spec(name) is None]
    return f"{', '.join(missing)} not installed" if missing else ""


def _check_torch(recorder: Recorder, device: str) -> str:
    torch = import_module("torch")
    cudnn = torch.backends.cudnn.version() if torch.cuda.is_available() else "not opened"
    built_for = f"built for CUDA {torch.version.cuda}, cuDNN {cudnn}"
    recorder.record("torch", f"{torch.__version__}, {built_for}")
    if device == "cuda" and not torch.cuda.is_available():
        return "torch finds no GPU"
    return ""


def _check_onnxruntime(recorder: Recorder, device: str) -> str:
    module = import_module("onnxruntime")
    providers = module.get_available_providers()
    recorder.record("onnxruntime", f"{module.__version__}, {', '.join(providers)}")
    if device == "cuda" and "CUDAExecutionProvider" not in providers:
        return "this onnxruntime has no CUDA: install onnxruntime-gpu in its place"
    return ""


def _check_ctranslate2(recorder: Recorder, device: str) -> str:
    module = import_module("ctranslate2")
    count = module.get_cuda_device_count()
    types = sorted(module.get_supported_compute_types(device)) if device == "cpu" or count else []
    text = f"{module.__version__}, {count} GPUs, {', '.join(types) or 'no compute type'}"
    recorder.record("CTranslate2", text)
    if device == "cuda" and not count:
        return "CTranslate2 finds no GPU"
    if device == "cuda":
        ctypes.CDLL("libcublas.so.12")  # it opens it by this name; OSError says why not
    return ""

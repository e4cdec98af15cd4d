"""Compute device of the engines, and how onnxruntime and torch are opened on it.

One device serves the whole service (BARNABEE_DEVICE).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from barnabee.core.errors import Misconfigured

CUDA_PROVIDER = "CUDAExecutionProvider"
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


@dataclass(frozen=True, slots=True)
class Device:
    """Processor an engine runs on."""

    kind: Literal["cpu", "cuda"] = "cpu"
    threads: int = 1  # CPU threads of one engine
    index: int = 0  # of the GPU, among those that CUDA sees
    gpu: str = "0"  # for NVML, which sees all: number or UUID


def open_session(path: Path, *, device: Device, weights: Path | None = None) -> Any:
    """Return an onnxruntime session for a verified model file.

    `weights` is the folder of the external weights, if not the model's own.
    """
    import onnxruntime as ort  # noqa: PLC0415 - heavy

    options = make_session_options(device)
    model: str | bytes = str(path)
    if weights is not None:
        options.add_session_config_entry(WEIGHTS_FOLDER, str(weights))
        model = path.read_bytes()  # the setting applies to models in memory only
    session = ort.InferenceSession(model, options, providers=select_providers(device))
    require_cuda(session, device)
    return session


def make_session_options(device: Device) -> Any:
    """Return onnxruntime options for an engine that shares the CPU with others."""
    import onnxruntime as ort  # noqa: PLC0415 - heavy

    options = ort.SessionOptions()
    options.intra_op_num_threads = device.threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Threads that spin between two operations take the cores from the other engines.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


def select_providers(device: Device) -> list[Any]:
    """Return onnxruntime's execution providers; Misconfigured when it was built without CUDA."""
    if device.kind == "cpu":
        return ["CPUExecutionProvider"]
    import onnxruntime as ort  # noqa: PLC0415 - heavy

    if CUDA_PROVIDER not in ort.get_available_providers():
        what = (
            "BARNABEE_DEVICE=cuda needs onnxruntime with CUDA, this one has none: "
            "install onnxruntime-gpu in its place"
        )
        raise Misconfigured(what=what)
    ort.preload_dlls()  # cuDNN and cuBLAS from the packages that torch depends on, if installed
    settings = {
        "device_id": device.index,
        # The default doubles the arena whenever it grows: twice the memory that was reserved.
        "arena_extend_strategy": "kSameAsRequested",
        # The default benchmarks every algorithm for every new input length.
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    return [(CUDA_PROVIDER, settings), "CPUExecutionProvider"]


def require_cuda(session: Any, device: Device) -> None:
    """Raise Misconfigured when onnxruntime fell back to the CPU."""
    if device.kind == "cuda" and session.get_providers()[0] != CUDA_PROVIDER:
        what = (
            "onnxruntime could not open the GPU and used the CPU: its log says which library of "
            "CUDA 12 or cuDNN 9 is missing; install it, or set BARNABEE_DEVICE=cpu"
        )
        raise Misconfigured(what=what)


def open_torch(device: Device) -> Any:
    """Return the `torch.device`; Misconfigured when torch is not installed or finds no GPU."""
    try:
        import torch  # noqa: PLC0415 - heavy, and needed on a GPU only
    except ImportError as error:
        what = f"BARNABEE_DEVICE=cuda needs torch ({error}): install the extra `gpu`"
        raise Misconfigured(what=what) from error
    if device.kind == "cpu":  # in tests
        torch.set_num_threads(device.threads)
        return torch.device("cpu")
    if torch.cuda.device_count() <= device.index:
        what = (
            "BARNABEE_DEVICE=cuda needs an NVIDIA GPU that torch can open, there is none: "
            "install the driver, or set BARNABEE_DEVICE=cpu"
        )
        raise Misconfigured(what=what)
    return torch.device("cuda", device.index)

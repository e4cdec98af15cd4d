"""How every ONNX model is opened here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from barnabee.core.errors import Misconfigured
from barnabee.gpu.engines.device import Device

CUDA = "CUDAExecutionProvider"
WEIGHTS_FOLDER = "session.model_external_initializers_file_folder_path"


def open_session(path: Path, *, device: Device, weights: Path | None = None) -> Any:
    """Return an onnxruntime session on `device` for a verified file.

    `weights` is the folder of the files that the graph names, where that is not the graph's own.
    """
    import onnxruntime as ort  # noqa: PLC0415 - heavy

    chosen = options(device)
    model: str | bytes = str(path)
    if weights is not None:
        chosen.add_session_config_entry(WEIGHTS_FOLDER, str(weights))
        model = path.read_bytes()  # of a graph in memory alone that folder is asked
    session = ort.InferenceSession(model, chosen, providers=providers(device))
    require(session, device)
    return session


def options(device: Device) -> Any:
    """Return onnxruntime's session options for a device that others use too."""
    import onnxruntime as ort  # noqa: PLC0415 - heavy

    chosen = ort.SessionOptions()
    chosen.intra_op_num_threads = device.threads
    chosen.inter_op_num_threads = 1
    chosen.log_severity_level = 3
    # Threads that spin between two operations take the cores from the other engines.
    chosen.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return chosen


def providers(device: Device) -> list[Any]:
    """Return the execution providers; Misconfigured where onnxruntime was built without CUDA."""
    if device.kind == "cpu":
        return ["CPUExecutionProvider"]
    import onnxruntime as ort  # noqa: PLC0415 - heavy

    if CUDA not in ort.get_available_providers():
        what = (
            "BARNABEE_DEVICE=cuda needs onnxruntime with CUDA, this one has none: "
            "install onnxruntime-gpu in its place"
        )
        raise Misconfigured(what=what)
    ort.preload_dlls()  # cuDNN and cuBLAS out of the packages that torch brings, where it is
    settings = {
        "device_id": device.index,
        # By default the arena doubles whenever it grows: twice what the ledger was told of.
        "arena_extend_strategy": "kSameAsRequested",
        # By default every new length is tried with every algorithm, and each sentence is a new one.
        "cudnn_conv_algo_search": "HEURISTIC",
    }
    return [(CUDA, settings), "CPUExecutionProvider"]


def require(session: Any, device: Device) -> None:
    """Raise Misconfigured when a session for the card was quietly opened on the CPU."""
    if device.kind == "cuda" and session.get_providers()[0] != CUDA:
        what = (
            "onnxruntime could not open the card and took the CPU: its log says which library of "
            "CUDA 12 or cuDNN 9 is missing; install it, or set BARNABEE_DEVICE=cpu"
        )
        raise Misconfigured(what=what)

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

    chosen, where = options(device), providers(device)
    if weights is None:
        return ort.InferenceSession(str(path), chosen, providers=where)
    chosen.add_session_config_entry(WEIGHTS_FOLDER, str(weights))
    return ort.InferenceSession(path.read_bytes(), chosen, providers=where)


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
            "BARNABEE_DEVICE=cuda needs onnxruntime with CUDA (onnxruntime-gpu), this one has none"
        )
        raise Misconfigured(what=what)
    # By default the arena doubles whenever it grows: twice the memory that the ledger was told of.
    settings = {"device_id": device.index, "arena_extend_strategy": "kSameAsRequested"}
    return [(CUDA, settings), "CPUExecutionProvider"]

"""How torch is opened here: for the card, or for a CPU where tests ask for it."""

from __future__ import annotations

from typing import Any

from barnabee.core.errors import Misconfigured
from barnabee.gpu.engines.device import Device


def open_torch(device: Device) -> Any:
    """Return the `torch.device` an engine shall compute on.

    Raises Misconfigured, naming what to install, where torch is missing or sees no card.
    """
    try:
        import torch  # noqa: PLC0415 - heavy, and only where there is a card
    except ImportError as error:
        what = f"BARNABEE_DEVICE=cuda needs torch ({error}): install the extra `gpu`"
        raise Misconfigured(what=what) from error
    if device.kind == "cpu":
        torch.set_num_threads(device.threads)
        return torch.device("cpu")
    if torch.cuda.device_count() <= device.index:
        what = (
            "BARNABEE_DEVICE=cuda needs an NVIDIA card that torch can open, there is none: "
            "install the driver, or set BARNABEE_DEVICE=cpu"
        )
        raise Misconfigured(what=what)
    return torch.device("cuda", device.index)

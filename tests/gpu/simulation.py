"""Stand-ins for a rehearsal on a CPU: memory that counts engines, and NVML's replies."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from barnabee.gpu.vram.probe import MIB
from support.fake_engines import FakeGpuMemory


def count_memory(
    make: Callable[[], Any], memory: FakeGpuMemory, name: str, mib: int
) -> Callable[[], Any]:
    """Return a factory whose engines take `mib` of `memory` from load to close.

    Without that much free memory the load fails with CUDA's message.
    """

    def make_engine() -> Any:
        if memory.read().free_mib < mib:
            msg = f"CUDA out of memory. Tried to allocate {mib}.00 MiB"
            raise RuntimeError(msg)
        engine = make()
        memory.allocate(name, mib)
        close = engine.close

        def close_and_release() -> None:
            close()
            memory.release(name)

        engine.close = close_and_release
        return engine

    return make_engine


def need_memory(
    use: Callable[[Any], object], memory: FakeGpuMemory, mib: int
) -> Callable[[Any], object]:
    """Return `use`, which fails like CUDA when less than `mib` is free."""

    def use_memory(engine: Any) -> object:
        if memory.read().free_mib < mib:
            msg = f"CUDA out of memory. Tried to allocate {mib}.00 MiB"
            raise RuntimeError(msg)
        return use(engine)

    return use_memory


def replace_driver() -> None:
    """Make `pynvml` answer like an idle GPU."""
    import pynvml  # noqa: PLC0415 - optional

    total, used = 16_376 * MIB, 600 * MIB
    replies: dict[str, Any] = {
        "nvmlInit": None,
        "nvmlShutdown": None,
        "nvmlDeviceGetHandleByIndex": object(),
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(total=total, used=used, free=total - used),
        "nvmlDeviceGetComputeRunningProcesses": [],
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=3, memory=1),
        "nvmlDeviceGetTemperature": 41,
        "nvmlDeviceGetPowerUsage": 12_500,
        "nvmlDeviceGetCurrentClocksEventReasons": 0,
    }
    for name, reply in replies.items():
        setattr(pynvml, name, lambda *_, reply=reply: reply)

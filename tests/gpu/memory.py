"""The driver's readings, exhaustion of the memory and recovery from it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from barnabee.core.errors import BarnabeeError, VramExhausted
from barnabee.gpu.model_runtime import release_pooled_memory
from barnabee.gpu.vram.probe import MIB, NvmlProbe
from gpu import engines, simulation
from gpu.context import Bench, read_wav, time_runs
from gpu.report import MISSING, CheckFailed
from gpu.stack import ENGINES, Stack, lease_with_retries, make_stack
from support.fake_engines import FakeGpuMemory

SPARE_MIB = 24  # left free by the ballast: less than any model needs


@dataclass
class Ballast:
    """Memory of the device that this process takes, so that nothing else fits."""

    bench: Bench
    simulated: FakeGpuMemory
    _blocks: list[Any] = field(default_factory=list)

    @contextmanager
    def hold(self) -> Iterator[None]:
        """Hold all memory but SPARE_MIB for the block."""
        if self.bench.is_cuda:
            self._take_cuda()
        else:
            free_mib = self.simulated.read().free_mib
            self.simulated.allocate("ballast", max(0, free_mib - SPARE_MIB))
        try:
            yield
        finally:
            self._blocks.clear()
            self.simulated.release("ballast")
            release_pooled_memory()

    def _take_cuda(self) -> None:
        """Take all but SPARE_MIB in blocks that are halved when one does not fit."""
        import torch  # noqa: PLC0415 - only on a GPU

        release_pooled_memory()
        device, block_mib = torch.device("cuda", self.bench.device.index), 65_536
        while block_mib >= 2:
            free_mib = torch.cuda.mem_get_info(device)[0] // MIB - SPARE_MIB
            block_mib = min(block_mib, max(0, free_mib))
            try:
                if block_mib >= 2:
                    size = (block_mib * MIB,)
                    self._blocks.append(torch.empty(size, dtype=torch.uint8, device=device))
                    continue
            except RuntimeError:  # fragmented
                block_mib //= 2


async def run_nvml(bench: Bench) -> None:
    """Record what the product reads from the driver, and what a CUDA context costs."""
    probe = NvmlProbe(bench.device.gpu)
    if not bench.is_cuda:
        simulation.replace_driver()
    before = probe.read()
    bench.recorder.record("memory", before.total_mib, "MiB", f"{before.free_mib} free")
    bench.recorder.record_times("one reading", time_runs(probe.read, bench.repeats))
    bench.open_context()
    after = probe.read()
    taken_mib = before.free_mib - after.free_mib
    note = f"of this process, by the driver: {after.process_mib} MiB"
    bench.recorder.record("CUDA context of torch", taken_mib, "MiB", note)
    sensors = after.sensors
    if sensors is None:
        raise CheckFailed("NVML gave no sensors")
    bench.recorder.record("temperature", str(sensors.temperature_c), "", "degrees Celsius")
    bench.recorder.record("power", str(sensors.power_mw), "", "mW")
    bench.recorder.record("utilisation", str(sensors.utilisation_percent), "", "percent")
    reasons = [name for name, holds in (sensors.throttle_reasons or {}).items() if holds]
    bench.recorder.record("throttled by", ", ".join(reasons) or "nothing")
    if bench.is_cuda and not after.process_mib:
        raise CheckFailed("the driver counts no memory for this process")


async def run_exhaustion(bench: Bench) -> None:
    """Load and use each engine without memory, then with it again."""
    bench.open_context()
    stack = make_stack(bench)
    ballast = Ballast(bench, stack.simulated)
    for name, (_, need) in ENGINES.items():
        if stack.unmet[need]:
            bench.recorder.fail(name, MISSING, stack.unmet[need])
            continue
        with bench.recorder.part(name):
            await _exhaust(stack, ballast, name)
    with bench.recorder.part("manager"):
        await _refuse_in_advance(stack, ballast)


async def _exhaust(stack: Stack, ballast: Ballast, name: str) -> None:
    model = ENGINES[name][0]
    recorder, runtime = stack.bench.recorder, stack.make_runtime(name, model)
    with ballast.hold():
        found = await _expect_exhaustion(runtime.load())
        recorder.record(f"{name}: load without memory", found)
    begun_s = time.perf_counter()
    await runtime.load()
    took_s = time.perf_counter() - begun_s
    recorder.record(f"{name}: load after the memory is free", took_s, "s", "recovered")
    use = _make_use(model)
    if not stack.bench.is_cuda:
        use = simulation.need_memory(use, stack.simulated, 2 * SPARE_MIB)
    with ballast.hold():
        job = runtime._thread.run(lambda: use(runtime.require_engine()))
        step = f"{name}: inference without memory"
        try:
            await job
            recorder.record(step, "ran in memory it already had")
        except VramExhausted as error:
            recorder.record(step, error.code)
        except BarnabeeError as error:  # the library's message is not recognised
            recorder.fail(step, error.code, str(error))
    await runtime._thread.run(lambda: use(runtime.require_engine()))
    recorder.record(f"{name}: inference after the memory is free", "recovered")
    await runtime.unload()


async def _expect_exhaustion(load: Any) -> str:
    try:
        await load
    except VramExhausted as error:
        return error.code
    except BarnabeeError as error:
        msg = f"{error.code} instead of {VramExhausted.code}: {error}"
        raise CheckFailed(msg) from error
    raise CheckFailed(f"it loaded with {SPARE_MIB} MiB free")


def _make_use(name: str) -> Callable[[Any], object]:
    long_text = [" ".join(engines.TEXTS)] * 32
    noise = read_wav(engines.QUESTION)
    uses: Mapping[str, Callable[[Any], object]] = {
        "embeddings": lambda engine: engine.embed(long_text),
        "kokoro": lambda engine: list(
            engine.speak(engines.LONG_REPLY, voice="barnabee", speed=1.0)
        ),
        "whisper": lambda engine: list(engine.transcribe(noise, language="en")),
    }
    return uses[name]


async def _refuse_in_advance(stack: Stack, ballast: Ballast) -> None:
    """The manager sees that the memory is taken and does not even try to load."""
    total_mib = stack.probe.read().total_mib
    async with stack.manage(("embeddings",), total_mib) as manager:
        with ballast.hold():
            await manager.memory.refresh()
            try:
                async with manager.lease("embeddings"):
                    raise CheckFailed("it was leased without memory")
            except BarnabeeError as error:
                stack.bench.recorder.record("manager: request without memory", error.code)
        took_s = await lease_with_retries(manager, "embeddings")
        name = "manager: request after the memory is free"
        stack.bench.recorder.record(name, took_s, "s", "recovered")

"""A budget in which not all models fit: refusal, eviction, and pressure by another program."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from barnabee.core.errors import BarnabeeError
from barnabee.gpu.vram.manager import VramManager
from gpu.context import Bench
from gpu.report import CheckFailed
from gpu.stack import HEADROOM_MIB, Stack, lease_with_retries, make_stack
from support.wait import wait_until

HOLD = """
import sys, torch
held = torch.empty(int(sys.argv[1]) * 2**20, dtype=torch.uint8, device="cuda")
torch.cuda.synchronize()
print("held", flush=True)
sys.stdin.read()
"""


async def run(bench: Bench) -> None:
    bench.open_context()
    stack, names = make_stack(bench), ("kokoro", "embeddings", "whisper")
    peaks = {name: bench.cuda_model(name).vram_peak_mib for name in names}
    # Whisper, the least important, fits beside the embedder or not at all beside Kokoro.
    vram_mib = HEADROOM_MIB + peaks["whisper"] + peaks["embeddings"] + peaks["kokoro"] // 2
    with bench.recorder.part("refusal"):
        async with stack.manage(names, vram_mib, preload=("kokoro",)) as manager:
            await _refuse_less_important(bench, manager)
    with bench.recorder.part("eviction"):
        async with stack.manage(names, vram_mib) as manager:
            await _evict_for_more_important(bench, manager)
    with bench.recorder.part("pressure"):
        async with stack.manage(names, vram_mib) as manager:
            await _release_under_pressure(stack, manager, vram_mib)


async def _refuse_less_important(bench: Bench, manager: VramManager) -> None:
    try:
        async with manager.lease("whisper"):
            raise CheckFailed("Whisper was loaded beyond the budget")
    except BarnabeeError as error:
        bench.recorder.record("Whisper asked for beside Kokoro", error.code, "", str(error))


async def _evict_for_more_important(bench: Bench, manager: VramManager) -> None:
    for name in ("whisper", "embeddings"):
        async with manager.lease(name):
            pass
    begun_s = time.perf_counter()
    async with manager.lease("kokoro"):
        took_s = time.perf_counter() - begun_s
    decisions = [f"{event.kind.value} {event.model}" for _, event in manager.decisions]
    bench.recorder.record("Kokoro asked for beside Whisper", took_s, "s", ", ".join(decisions))
    if "evict whisper" not in decisions or "evict embeddings" in decisions:
        raise CheckFailed(f"decisions: {', '.join(decisions)}")
    charged_mib, limit_mib = manager.ledger.charged_mib, manager.ledger.gpu.vram_mib
    bench.recorder.record("charged afterwards", charged_mib, "MiB", f"of {limit_mib}")


async def _release_under_pressure(stack: Stack, manager: VramManager, vram_mib: int) -> None:
    async with manager.lease("whisper"):
        pass
    begun_s = time.perf_counter()
    with _other_program(stack, vram_mib - HEADROOM_MIB):
        await wait_until(lambda: "whisper" not in manager.ledger.resident)
        took_s = time.perf_counter() - begun_s
        decisions = [f"{event.kind.value} {event.model}" for _, event in manager.decisions]
        name = "another program takes the memory: Whisper unloaded after"
        stack.bench.recorder.record(name, took_s, "s", ", ".join(decisions))
    took_s = await lease_with_retries(manager, "whisper")
    stack.bench.recorder.record("Whisper after the other program has ended", took_s, "s")


@contextmanager
def _other_program(stack: Stack, mib: int) -> Iterator[None]:
    """Let another process hold memory of the device."""
    if not stack.bench.is_cuda:
        stack.simulated.set_other_use(mib)
        try:
            yield
        finally:
            stack.simulated.set_other_use(0)
        return
    command = [sys.executable, "-c", HOLD, str(mib)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as program:
        try:
            if program.stdout is None or program.stdout.readline() != b"held\n":
                raise CheckFailed(f"another program could not take {mib} MiB")
            yield
        finally:
            program.kill()

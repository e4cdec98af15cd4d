"""Embeddings of the product, with its leases and batches, beside bare sentence-transformers.

Bare means `SentenceTransformer.encode` in a process of its own: call after call, or in 32 threads,
with and without a lock around the model; the best of these counts.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from statistics import median
from typing import Any

from barnabee.gpu.batcher import Batcher
from barnabee.gpu.engines.minilm import MiniLmTorch
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import ModelRuntime
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.manager import VramManager
from gpu.context import ROOT, Bench
from gpu.engines import TEXTS
from support.wait import wait_until

CLIENTS, QUICK_CLIENTS = 32, 4
ROUNDS, QUICK_ROUNDS = 5, 1
MODEL = "embeddings"


@dataclass(frozen=True)
class Embedder:
    """The product's path of a request for embeddings, without HTTP."""

    manager: VramManager
    batcher: Batcher

    async def embed(self, text: str) -> None:
        async with self.manager.lease(MODEL) as lease:
            await self.batcher.embed(lease, [text])

    async def time_alone(self, texts: list[str]) -> list[float]:
        times_s = []
        for text in texts:
            begun_s = time.perf_counter()
            await self.embed(text)
            times_s.append(time.perf_counter() - begun_s)
        return times_s

    async def measure_rate(self, clients: int, seconds: float) -> float:
        """Return the texts per second of concurrent clients."""
        begun_s, done = time.perf_counter(), 0

        async def run_client(number: int) -> None:
            nonlocal done
            for text in islice(cycle(TEXTS), number, None):
                if time.perf_counter() - begun_s >= seconds:
                    return
                await self.embed(text)
                done += 1

        await asyncio.gather(*(run_client(number) for number in range(clients)))
        return done / (time.perf_counter() - begun_s)


async def run(bench: Bench) -> None:
    with _start_bare(bench) as bare:
        async with _start_product(bench) as product:
            await product.time_alone(TEXTS)  # warms up
            await _compare_alone(bench, product, bare)
            await _compare_together(bench, product, bare)


async def _compare_alone(bench: Bench, product: Embedder, bare: subprocess.Popen[str]) -> None:
    """Compare one client in rounds, because other load on the machine comes and goes."""
    ours_s: list[float] = []
    bare_s: list[float] = []
    ratios = []
    for _ in range(QUICK_ROUNDS if bench.quick else ROUNDS):
        ours_s += (mine := await product.time_alone(TEXTS))
        bare_s += (theirs := _ask(bare, {"alone": TEXTS, "single": False})["times_s"])
        ratios.append(median(theirs) / median(mine))
    bench.recorder.record_times("1 client, product", ours_s)
    bench.recorder.record_times("1 client, bare", bare_s)
    bench.recorder.record("1 client, bare time / product time", median(ratios))


async def _compare_together(bench: Bench, product: Embedder, bare: subprocess.Popen[str]) -> None:
    clients = QUICK_CLIENTS if bench.quick else CLIENTS
    rate = await product.measure_rate(clients, bench.seconds)
    wanted = {"threads": clients, "seconds": bench.seconds, "texts": TEXTS, "single": False}
    rates = [float(_ask(bare, {**wanted, "lock": lock})["rate"]) for lock in (False, True)]
    bench.recorder.record(f"{clients} clients, product", rate, "texts/s")
    bench.recorder.record(f"{clients} clients, bare", max(rates), "texts/s")
    bench.recorder.record(f"{clients} clients, product rate / bare rate", rate / max(rates))


@asynccontextmanager
async def _start_product(bench: Bench) -> AsyncIterator[Embedder]:
    model, files = bench.cuda_model(MODEL), bench.files(MODEL)
    metrics = GpuMetrics("gpu")
    runtime: ModelRuntime[Any] = ModelRuntime(
        "embed", files.name, lambda: MiniLmTorch.load(files, device=bench.device), name=MODEL
    )
    probe = bench.open_probe()
    total_mib = probe.read().total_mib
    ledger = Ledger(bench.make_gpu_config(total_mib, 0), {MODEL: model})
    manager = VramManager(ledger, [runtime], probe, metrics)
    running = asyncio.create_task(manager.run())
    try:
        await wait_until(lambda: manager.has_attempted_load(MODEL))
        yield Embedder(manager, Batcher(runtime, metrics))
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


@contextmanager
def _start_bare(bench: Bench) -> Iterator[subprocess.Popen[str]]:
    script = ROOT / "tests" / "bench" / "bare_embedder.py"
    command = [sys.executable, str(script), str(bench.files(MODEL)), bench.device.kind]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            _ask(process)  # ready
            yield process
        finally:
            process.kill()


def _ask(process: subprocess.Popen[str], request: dict[str, Any] | None = None) -> dict[str, Any]:
    assert process.stdin
    assert process.stdout
    if request is not None:
        process.stdin.write(json.dumps(request) + "\n")
        process.stdin.flush()
    reply: dict[str, Any] = json.loads(process.stdout.readline())
    return reply

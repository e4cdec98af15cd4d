"""Rate of ledger decisions and cost of a lease."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from statistics import median

import pytest

from barnabee.core import system
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import ModelRuntime
from barnabee.gpu.vram import budget
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.manager import VramManager
from barnabee.gpu.vram.types import (
    Decision,
    Evict,
    GpuCapacity,
    Load,
    MeasuredMemory,
    Reservation,
    ResidentModel,
    VramLease,
    Wait,
)
from support.benchmark import choose_size, is_at_least, is_at_most
from support.fake_engines import FakeGpuMemory, FakeSynthesizer
from support.vram import make_gpu, make_model
from support.wait import wait_until

ROUNDS, DECISIONS = choose_size((7, 5_000), (1, 50))
LIMIT_PER_S = 10_000
LEASE_LIMIT_US = 50


def measure_rate_per_s(job: Callable[[], object]) -> float:
    """Return the median rate of rounds per second of CPU time."""

    def once() -> float:
        begun_s = time.process_time()
        for _ in range(DECISIONS):
            job()
        return DECISIONS / (time.process_time() - begun_s)

    return median(once() for _ in range(ROUNDS))


def make_residents() -> list[ResidentModel]:
    """Twelve models, more than twice as many as usual, so that choosing takes time."""
    return [
        ResidentModel(
            Reservation(f"m{n}", 1 + n % 4, 1000 + n, reload_ms=n, preload=n < 4), 900, n * 7 % 5
        )
        for n in range(12)
    ]


@pytest.mark.parametrize(
    ("need_mib", "leased", "kind"),
    [(100, 0, Load), (4000, 0, Evict), (4000, 8, Wait)],
)
def test_ten_thousand_decisions_a_second(need_mib: int, leased: int, kind: type[Decision]) -> None:
    residents = make_residents()
    wanted = Reservation("wanted", 2, need_mib)
    capacity = GpuCapacity(14_000, 1_000)
    below = [model.name for model in residents if model.reservation.priority > 2]
    leases = [VramLease(name, "room", 900 + n) for n, name in enumerate(below[:leased])]

    def decide() -> Decision:
        return budget.plan(residents, wanted, capacity, 14_000 - 12 * 900, leases, 100)

    assert isinstance(decide(), kind)
    rate = measure_rate_per_s(decide)
    print(f"\n{kind.__name__}: {rate:,.0f} decisions/s among {len(residents)} models")
    assert is_at_least(rate, LIMIT_PER_S)


def test_a_lease_of_a_loaded_model_costs_little() -> None:
    graph = system.load_system()
    ledger = Ledger(graph.gpu, graph.model)
    measured = MeasuredMemory(graph.gpu.vram_mib)
    ledger.step(0, measured)
    ledger.record_loaded("parakeet", 0, held_mib=3584, took_ms=1)
    tickets = iter(range(10**9))

    def use() -> None:
        ticket = next(tickets)
        ledger.request(ticket, "parakeet", "kitchen", 0)
        ledger.release(ticket, 0)

    rate = measure_rate_per_s(use)
    took_us = 1e6 / rate
    print(f"\nlease and return: {took_us:.1f} us")
    assert is_at_most(took_us, LEASE_LIMIT_US)


async def test_a_lease_of_the_running_manager_costs_little() -> None:
    slot = ModelRuntime("tts", "a", FakeSynthesizer)
    metrics = GpuMetrics("gpu")
    ledger = Ledger(make_gpu(), {"a": make_model(1, 100, preload=True)})
    manager = VramManager(ledger, [slot], FakeGpuMemory(1000), metrics)
    running = asyncio.create_task(manager.run())
    await wait_until(lambda: manager.has_attempted_load("a"))

    async def rounds() -> float:
        begun_s = time.process_time()
        for _ in range(DECISIONS):
            async with manager.lease("a", "kitchen"):
                pass
        return (time.process_time() - begun_s) / DECISIONS * 1e6

    took_us = median([await rounds() for _ in range(ROUNDS)])
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    print(f"\nlease and return by the manager: {took_us:.1f} us")
    assert is_at_most(took_us, LEASE_LIMIT_US)

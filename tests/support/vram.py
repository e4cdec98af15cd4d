"""GPU configurations, models and leases for the tests of the VRAM ledger."""

from __future__ import annotations

from itertools import combinations
from random import Random

from barnabee.core.schema import GpuConfig, ModelConfig
from barnabee.gpu.vram import budget
from barnabee.gpu.vram.types import Decision, GpuCapacity, Reservation, ResidentModel, VramLease

NOW_MS = 1_000_000


def make_gpu(vram_mib: int = 1000, headroom_mib: int = 100, **changes: int) -> GpuConfig:
    """Return a GPU configuration with short limits."""
    limits = {
        "cpu_headroom_mib": 0,
        "idle_unload_s": 60,
        "queue_depth": 4,
        "wait_limit_ms": 10_000,
        "turn_limit_ms": 30_000,
    }
    return GpuConfig(
        name="test GPU", vram_mib=vram_mib, headroom_mib=headroom_mib, **(limits | changes)
    )


def make_model(
    priority: int, peak_mib: int, *, preload: bool = False, reload_ms: int = 100
) -> ModelConfig:
    """Return a model; a preloaded one reserves its whole peak."""
    return ModelConfig(
        task="stt",
        engine="whisper",
        cpu_peak_mib=peak_mib,
        vram_reserved_mib=peak_mib if preload else 0,
        vram_peak_mib=peak_mib,
        priority=priority,
        preload=preload,
        reload_cost_ms=reload_ms,
        lease_limit_ms=5_000,
    )


def make_resident(
    name: str,
    priority: int,
    mib: int,
    *,
    idle_ms: int = 0,
    reload_ms: int = 0,
    preload: bool = True,
    measured_mib: int = 0,
) -> ResidentModel:
    """Return a loaded model that holds its declared memory."""
    claim = Reservation(name, priority, mib, measured_mib, reload_ms=reload_ms, preload=preload)
    return ResidentModel(claim, mib, NOW_MS - idle_ms)


def make_lease(name: str, due_in_ms: int = 1000) -> VramLease:
    return VramLease(name, "kitchen", NOW_MS + due_in_ms)


def make_plan(
    loaded: list[ResidentModel],
    wanted: Reservation,
    *,
    leases: tuple[VramLease, ...] = (),
    capacity: GpuCapacity | None = None,
    measured_free_mib: int | None = None,
) -> Decision:
    """Return the plan on a GPU of 1000 MiB with 100 MiB headroom, measured as predicted."""
    capacity = capacity or GpuCapacity(1000, 100)
    free_mib = capacity.vram_mib - capacity.other_mib - sum(model.held_mib for model in loaded)
    measured_mib = free_mib if measured_free_mib is None else measured_free_mib
    return budget.plan(loaded, wanted, capacity, measured_mib, leases, NOW_MS)


def find_cheapest_victims(
    idle_evictable: list[ResidentModel], missing_charge_mib: int, missing_held_mib: int
) -> tuple[str, ...]:
    """Return the best victims by brute force: the most valuable one is the cheapest possible."""
    order = sorted(
        idle_evictable,
        key=lambda m: (-m.reservation.priority, m.last_used_ms, m.reservation.reload_ms, m.name),
    )
    enough = [
        chosen
        for size in range(len(order) + 1)
        for chosen in combinations(range(len(order)), size)
        if sum(order[i].reservation.charge_mib for i in chosen) >= missing_charge_mib
        and sum(order[i].held_mib for i in chosen) >= missing_held_mib
    ]
    best = min(enough, key=lambda chosen: tuple(reversed(chosen)))
    return tuple(order[i].name for i in best)


def remove_models(loaded: list[ResidentModel], names: tuple[str, ...]) -> list[ResidentModel]:
    return [model for model in loaded if model.name not in names]


def make_random(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - reproducible, not secret

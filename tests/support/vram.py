"""Cards, models and situations for the tests of the ledger."""

from __future__ import annotations

from itertools import combinations
from random import Random

from barnabee.core.schema import Card, Model
from barnabee.gpu.vram import budget
from barnabee.gpu.vram.types import Capacity, Claim, Decision, Lease, Resident

NOW_MS = 1_000_000


def card(vram_mib: int = 1000, headroom_mib: int = 100, **changes: int) -> Card:
    """Return a card with short limits."""
    limits = {
        "cpu_headroom_mib": 0,
        "idle_unload_s": 60,
        "queue_depth": 4,
        "wait_limit_ms": 10_000,
        "turn_limit_ms": 30_000,
    }
    return Card(
        name="test card", vram_mib=vram_mib, headroom_mib=headroom_mib, **(limits | changes)
    )


def model(priority: int, peak_mib: int, *, preload: bool = False, reload_ms: int = 100) -> Model:
    """Return a model; a preloaded one has its whole peak reserved."""
    return Model(
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


def resident(
    name: str,
    priority: int,
    mib: int,
    *,
    idle_ms: int = 0,
    reload_ms: int = 0,
    preload: bool = True,
    measured_mib: int = 0,
) -> Resident:
    """Return a model on the card that holds all it declares."""
    claim = Claim(name, priority, mib, measured_mib, reload_ms=reload_ms, preload=preload)
    return Resident(claim, mib, NOW_MS - idle_ms)


def lease(name: str, due_in_ms: int = 1000) -> Lease:
    """Return a lease of a model."""
    return Lease(name, "kitchen", NOW_MS + due_in_ms)


def decide(
    there: list[Resident],
    wanted: Claim,
    *,
    leases: tuple[Lease, ...] = (),
    capacity: Capacity | None = None,
    measured_free_mib: int | None = None,
) -> Decision:
    """Return the plan on a card of 1000 MiB, 100 of them headroom; measured is as predicted."""
    capacity = capacity or Capacity(1000, 100)
    free_mib = capacity.vram_mib - capacity.other_mib - sum(model.held_mib for model in there)
    measured_mib = free_mib if measured_free_mib is None else measured_free_mib
    return budget.plan(there, wanted, capacity, measured_mib, leases, NOW_MS)


def cheapest_victims(
    idle_below: list[Resident], charge_short_mib: int, held_short_mib: int
) -> tuple[str, ...]:
    """Return the best victims, by trying every set: the dearest of them is as cheap as can be."""
    order = sorted(
        idle_below,
        key=lambda m: (-m.claim.priority, m.last_used_ms, m.claim.reload_ms, m.name),
    )
    enough = [
        chosen
        for size in range(len(order) + 1)
        for chosen in combinations(range(len(order)), size)
        if sum(order[i].claim.charge_mib for i in chosen) >= charge_short_mib
        and sum(order[i].held_mib for i in chosen) >= held_short_mib
    ]
    best = min(enough, key=lambda chosen: tuple(reversed(chosen)))
    return tuple(order[i].name for i in best)


def without(there: list[Resident], names: tuple[str, ...]) -> list[Resident]:
    """Return what is left when these are unloaded."""
    return [model for model in there if model.name not in names]


def seeded(seed: int) -> Random:
    """Return dice that always fall the same way."""
    return Random(seed)  # noqa: S311 - nothing secret is drawn here

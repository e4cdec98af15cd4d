"""VRAM budget: the policy of loading and evicting models. Pure.

The same situation always gives the same plan, in whatever order models and leases are listed.
`docs/reference/vram.md` has the policy in prose.

A model is charged with the larger of its declared and its measured peak. Free memory is the smaller
of measured and predicted: a measurement ignores that idle models will need their peaks again, a
prediction ignores what the driver has not freed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from barnabee.gpu.vram.types import (
    AlreadyLoaded,
    Decision,
    Evict,
    GpuCapacity,
    Load,
    RefusalCode,
    Refuse,
    Reservation,
    ResidentModel,
    VramLease,
    Wait,
)

CRITICAL_PRIORITY = 1  # of models that every turn needs


@dataclass(frozen=True, slots=True)
class Shortfall:
    """Missing memory; not positive when there is enough."""

    predicted_mib: int
    measured_mib: int

    def is_met_by(self, unloaded: Iterable[ResidentModel]) -> bool:
        return not self.after(unloaded)

    def after(self, unloaded: Iterable[ResidentModel]) -> Shortfall:
        """Return what is missing after these models are unloaded."""
        predicted_mib, measured_mib = self.predicted_mib, self.measured_mib
        for model in unloaded:
            predicted_mib -= model.reservation.charge_mib
            measured_mib -= model.held_mib
        return Shortfall(predicted_mib, measured_mib)

    def __bool__(self) -> bool:
        return self.predicted_mib > 0 or self.measured_mib > 0


def sum_charged_mib(resident: Iterable[ResidentModel]) -> int:
    return sum(model.reservation.charge_mib for model in resident)


def compute_free_mib(
    resident: Iterable[ResidentModel], capacity: GpuCapacity, measured_free_mib: int
) -> int:
    """Return the smaller of measured and predicted free memory, without headroom."""
    predicted = capacity.usable_mib - sum_charged_mib(resident)
    return min(measured_free_mib - capacity.headroom_mib, predicted)


def plan(
    resident: Collection[ResidentModel],
    wanted: Reservation,
    capacity: GpuCapacity,
    measured_free_mib: int,
    leases: Collection[VramLease],
    now_ms: int,
) -> Decision:
    """Return what must happen so that `wanted` can be leased.

    `measured_free_mib` includes the headroom. A model is evicted only for a more important one, and
    never while it is leased.
    """
    if any(model.name == wanted.name for model in resident):
        return AlreadyLoaded()
    need = wanted.need_mib
    free = compute_free_mib(resident, capacity, measured_free_mib)
    if wanted.charge_mib > capacity.largest_mib:
        return Refuse(RefusalCode.TOO_LARGE, need, free)
    if need <= free:
        return Load(need, free)
    shortfall = _compute_shortfall(resident, capacity, measured_free_mib, need)
    release_ms = _release_times(leases)
    evictable = [model for model in resident if model.reservation.priority > wanted.priority]
    idle = [model for model in evictable if model.name not in release_ms]
    if shortfall.is_met_by(idle):
        return Evict(_names(_fewest_victims(idle, shortfall)), need, free)
    busy = [model for model in evictable if release_ms.get(model.name, now_ms) > now_ms]
    awaited = _earliest_released(busy, release_ms, shortfall.after(idle))
    if awaited:
        until_ms = max(release_ms[name] for name in awaited)
        return Wait(awaited, until_ms, need, free)
    return Refuse(_refusal_code(resident, evictable, shortfall, capacity, need), need, free)


def select_pressure_victims(
    resident: Collection[ResidentModel],
    capacity: GpuCapacity,
    measured_free_mib: int,
    leases: Collection[VramLease],
) -> tuple[str, ...]:
    """Return the models to unload because other programs have taken memory.

    Models without `preload` are unloaded as soon as the charges no longer fit. When none is left
    and the measured free memory is below the headroom, preloaded ones are unloaded too. Critical
    and leased models are never unloaded: every turn needs them and they might not fit again.
    """
    shortfall = _compute_shortfall(resident, capacity, measured_free_mib, 0)
    if not shortfall:
        return ()
    leased = {lease.model for lease in leases}
    optional = [model for model in resident if not model.reservation.preload]
    if not optional:
        optional, shortfall = list(resident), Shortfall(0, shortfall.measured_mib)
    evictable = (
        m for m in optional if m.name not in leased and m.reservation.priority > CRITICAL_PRIORITY
    )
    return _names(_fewest_victims(evictable, shortfall)) if shortfall else ()


def select_oom_victims(
    resident: Iterable[ResidentModel], wanted: Reservation, leases: Iterable[VramLease]
) -> tuple[str, ...]:
    """Return all idle models that are less important than `wanted`, which ran out of memory.

    All of them, because the missing amount is unknown.
    """
    leased = {lease.model for lease in leases}
    victims = (
        model
        for model in resident
        if model.reservation.priority > wanted.priority and model.name not in leased
    )
    return _names(sorted(victims, key=_eviction_order))


def select_idle_models(
    resident: Iterable[ResidentModel], leases: Iterable[VramLease], now_ms: int, idle_unload_ms: int
) -> tuple[str, ...]:
    """Return the models without `preload` that were not used for `idle_unload_ms`."""
    leased = {lease.model for lease in leases}
    names = (
        model.name
        for model in resident
        if not model.reservation.preload
        and model.name not in leased
        and now_ms - model.last_used_ms >= idle_unload_ms
    )
    return tuple(sorted(names))


def _compute_shortfall(
    resident: Iterable[ResidentModel], capacity: GpuCapacity, measured_free_mib: int, need_mib: int
) -> Shortfall:
    return Shortfall(
        predicted_mib=need_mib + sum_charged_mib(resident) - capacity.usable_mib,
        measured_mib=need_mib + capacity.headroom_mib - measured_free_mib,
    )


def _eviction_order(model: ResidentModel) -> tuple[int, int, int, str]:
    """Sort key: least important, least recently used, cheapest to reload, then by name."""
    return (
        -model.reservation.priority,
        model.last_used_ms,
        model.reservation.reload_ms,
        model.name,
    )


def _fewest_victims(
    candidates: Iterable[ResidentModel], shortfall: Shortfall
) -> list[ResidentModel]:
    """Return the models to evict in eviction order; all candidates when they are not enough.

    Candidates are spared from the last to the first if the earlier ones are enough, which minimises
    the most valuable victim, then the next. A small model is spared when a larger victim is enough.
    """
    return _drop_unneeded(sorted(candidates, key=_eviction_order), shortfall)


def _drop_unneeded(victims: list[ResidentModel], shortfall: Shortfall) -> list[ResidentModel]:
    remaining = shortfall.after(victims)
    if remaining:
        return victims
    needed: list[ResidentModel] = []
    for model in reversed(victims):
        without = Shortfall(
            remaining.predicted_mib + model.reservation.charge_mib,
            remaining.measured_mib + model.held_mib,
        )
        if without:
            needed.append(model)
        else:
            remaining = without
    return needed[::-1]


def _release_times(leases: Iterable[VramLease]) -> dict[str, int]:
    """Return the end of each model's last lease."""
    release_ms: dict[str, int] = {}
    for lease in leases:
        release_ms[lease.model] = max(lease.until_ms, release_ms.get(lease.model, lease.until_ms))
    return release_ms


def _earliest_released(
    busy: Iterable[ResidentModel], release_ms: dict[str, int], shortfall: Shortfall
) -> tuple[str, ...]:
    """Return the models to wait for, the first due ones; empty when all are not enough."""
    awaited: list[ResidentModel] = []
    remaining = shortfall
    for model in sorted(busy, key=lambda model: (release_ms[model.name], _eviction_order(model))):
        awaited.append(model)
        remaining = remaining.after((model,))
        if not remaining:
            return _names(_drop_unneeded(awaited, shortfall))
    return ()


def _refusal_code(
    resident: Collection[ResidentModel],
    evictable: Collection[ResidentModel],
    shortfall: Shortfall,
    capacity: GpuCapacity,
    need_mib: int,
) -> RefusalCode:
    if shortfall.is_met_by(evictable):
        return RefusalCode.STUCK
    staying_mib = sum_charged_mib(resident) - sum_charged_mib(evictable)
    return (
        RefusalCode.TAKEN
        if staying_mib + need_mib <= capacity.largest_mib
        else RefusalCode.NOT_EVICTABLE
    )


def _names(models: Iterable[ResidentModel]) -> tuple[str, ...]:
    return tuple(model.name for model in models)

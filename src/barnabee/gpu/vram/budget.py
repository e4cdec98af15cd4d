"""The policy of the card's memory: what must happen so that a model can be there.

Pure: no I/O, no clock, no engine; the same situation always gives the same plan, in whatever order
it is told. `docs/reference/vram.md` states the policy in prose.

Every model counts with the most it may take: what is declared, or what was measured when that is
more. Free is the smaller of measured and predicted: a measurement does not know that
idle models will need their peak again, a prediction does not know what a driver has kept.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from barnabee.gpu.vram.types import (
    Capacity,
    Claim,
    Code,
    Decision,
    Evict,
    Lease,
    Load,
    Refuse,
    Resident,
    Use,
    Wait,
)

CRITICAL = 1  # the priority of what the house cannot do without


@dataclass(frozen=True, slots=True)
class Short:
    """How much is missing; not positive when there is enough."""

    predicted_mib: int
    measured_mib: int

    def met_by(self, gone: Iterable[Resident]) -> bool:
        """Return whether it would be enough with these gone."""
        return not self.after(gone)

    def after(self, gone: Iterable[Resident]) -> Short:
        """Return what is missing with these gone."""
        predicted_mib, measured_mib = self.predicted_mib, self.measured_mib
        for model in gone:
            predicted_mib -= model.claim.charge_mib
            measured_mib -= model.held_mib
        return Short(predicted_mib, measured_mib)

    def __bool__(self) -> bool:
        """Return whether anything is missing."""
        return self.predicted_mib > 0 or self.measured_mib > 0


def charged_mib(resident: Iterable[Resident]) -> int:
    """Return what these models count for together."""
    return sum(model.claim.charge_mib for model in resident)


def free_mib(resident: Iterable[Resident], capacity: Capacity, measured_free_mib: int) -> int:
    """Return what may still be given away: the smaller of measured and predicted."""
    predicted = capacity.usable_mib - charged_mib(resident)
    return min(measured_free_mib - capacity.headroom_mib, predicted)


def plan(
    resident: Collection[Resident],
    wanted: Claim,
    capacity: Capacity,
    measured_free_mib: int,
    leases: Collection[Lease],
    now_ms: int,
) -> Decision:
    """Return what must happen so that `wanted` is on the card.

    `measured_free_mib` is what the card itself says is free, headroom included. A model makes way
    only for a more important one, and never while it is leased.
    """
    if any(model.name == wanted.name for model in resident):
        return Use()
    need = wanted.need_mib
    free = free_mib(resident, capacity, measured_free_mib)
    if wanted.charge_mib > capacity.largest_mib:
        return Refuse(Code.TOO_LARGE, need, free)
    if need <= free:
        return Load(need, free)
    short = _short(resident, capacity, measured_free_mib, need)
    back_ms = _returns(leases)
    below = [model for model in resident if model.claim.priority > wanted.priority]
    idle = [model for model in below if model.name not in back_ms]
    if short.met_by(idle):
        return Evict(_names(_fewest(idle, short)), need, free)
    busy = [model for model in below if back_ms.get(model.name, now_ms) > now_ms]
    awaited = _first_back(busy, back_ms, short.after(idle))
    if awaited:
        until_ms = max(back_ms[name] for name in awaited)
        return Wait(awaited, until_ms, need, free)
    return Refuse(_why_never(resident, below, short, capacity, need), need, free)


def relieve(
    resident: Collection[Resident],
    capacity: Capacity,
    measured_free_mib: int,
    leases: Collection[Lease],
) -> tuple[str, ...]:
    """Return which models to unload because others have taken memory; empty when all is well.

    A model that is not preloaded goes as soon as the peaks no longer fit together. When none is
    left and the card really has less free than its headroom, preloaded ones go too. A critical or
    leased one never does: it could not come back, and every turn needs it.
    """
    short = _short(resident, capacity, measured_free_mib, 0)
    if not short:
        return ()
    leased = {lease.model for lease in leases}
    extra = [model for model in resident if not model.claim.preload]
    if not extra:
        extra, short = list(resident), Short(0, short.measured_mib)
    may_go = (m for m in extra if m.name not in leased and m.claim.priority > CRITICAL)
    return _names(_fewest(may_go, short)) if short else ()


def sacrificed(
    resident: Iterable[Resident], wanted: Claim, leases: Iterable[Lease]
) -> tuple[str, ...]:
    """Return all that is idle and less important than `wanted`, which has run out of memory.

    Nobody knows how much was missing, so nobody is spared.
    """
    leased = {lease.model for lease in leases}
    going = (
        model
        for model in resident
        if model.claim.priority > wanted.priority and model.name not in leased
    )
    return _names(sorted(going, key=_first_to_go))


def unused(
    resident: Iterable[Resident], leases: Iterable[Lease], now_ms: int, idle_unload_ms: int
) -> tuple[str, ...]:
    """Return the models that are not preloaded and have not been used for `idle_unload_ms`."""
    leased = {lease.model for lease in leases}
    names = (
        model.name
        for model in resident
        if not model.claim.preload
        and model.name not in leased
        and now_ms - model.last_used_ms >= idle_unload_ms
    )
    return tuple(sorted(names))


def _short(
    resident: Iterable[Resident], capacity: Capacity, measured_free_mib: int, need_mib: int
) -> Short:
    return Short(
        predicted_mib=need_mib + charged_mib(resident) - capacity.usable_mib,
        measured_mib=need_mib + capacity.headroom_mib - measured_free_mib,
    )


def _first_to_go(model: Resident) -> tuple[int, int, int, str]:
    """Order: least important, least recently used, cheapest to bring back; names end all ties."""
    return (-model.claim.priority, model.last_used_ms, model.claim.reload_ms, model.name)


def _fewest(candidates: Iterable[Resident], short: Short) -> list[Resident]:
    """Return who has to go, in order; everybody when not even that is enough.

    From the last to go to the first, whoever is not needed when all that come before go, stays. So
    the dearest victim is as cheap as it can be, then the next, and nobody goes in vain: a small
    model stays when a larger one that cannot be spared is enough by itself.
    """
    return _without_needless(sorted(candidates, key=_first_to_go), short)


def _without_needless(going: list[Resident], short: Short) -> list[Resident]:
    left = short.after(going)
    if left:
        return going
    needed: list[Resident] = []
    for model in reversed(going):
        without = Short(
            left.predicted_mib + model.claim.charge_mib, left.measured_mib + model.held_mib
        )
        if without:
            needed.append(model)
        else:
            left = without
    return needed[::-1]


def _returns(leases: Iterable[Lease]) -> dict[str, int]:
    """Return when each leased model is due back: when its last lease is."""
    back_ms: dict[str, int] = {}
    for lease in leases:
        back_ms[lease.model] = max(lease.until_ms, back_ms.get(lease.model, lease.until_ms))
    return back_ms


def _first_back(busy: Iterable[Resident], back_ms: dict[str, int], short: Short) -> tuple[str, ...]:
    """Return whose return to await: those first due that are enough; empty when all are not."""
    awaited: list[Resident] = []
    left = short
    for model in sorted(busy, key=lambda model: (back_ms[model.name], _first_to_go(model))):
        awaited.append(model)
        left = left.after((model,))
        if not left:
            return _names(_without_needless(awaited, short))
    return ()


def _why_never(
    resident: Collection[Resident],
    below: Collection[Resident],
    short: Short,
    capacity: Capacity,
    need_mib: int,
) -> Code:
    if short.met_by(below):
        return Code.STUCK
    staying_mib = charged_mib(resident) - charged_mib(below)
    return Code.TAKEN if staying_mib + need_mib <= capacity.largest_mib else Code.KEPT


def _names(models: Iterable[Resident]) -> tuple[str, ...]:
    return tuple(model.name for model in models)

"""VRAM budget in random situations, compared with a brute-force search for victims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import event, given, settings
from hypothesis import strategies as st

from barnabee.gpu.vram import budget
from barnabee.gpu.vram.types import (
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
from support.vram import NOW_MS, find_cheapest_victims, make_random, remove_models


@dataclass
class Situation:
    """Arguments of `budget.plan`."""

    loaded: list[ResidentModel]
    wanted: Reservation
    capacity: GpuCapacity
    measured_free_mib: int
    leases: list[VramLease]

    def plan(self, now_ms: int = NOW_MS) -> Decision:
        return budget.plan(
            self.loaded, self.wanted, self.capacity, self.measured_free_mib, self.leases, now_ms
        )

    def idle_evictable(self) -> list[ResidentModel]:
        leased = {lease.model for lease in self.leases}
        return [m for m in self.evictable() if m.name not in leased]

    def evictable(self) -> list[ResidentModel]:
        return [m for m in self.loaded if m.reservation.priority > self.wanted.priority]

    def shortfall(self) -> tuple[int, int]:
        """Return the missing predicted and measured memory in MiB."""
        need_mib = self.wanted.need_mib
        charged_mib = sum(
            max(m.reservation.declared_mib, m.reservation.measured_mib) for m in self.loaded
        )
        usable_mib = self.capacity.vram_mib - self.capacity.headroom_mib - self.capacity.other_mib
        measured_mib = self.measured_free_mib - self.capacity.headroom_mib
        return need_mib + charged_mib - usable_mib, need_mib - measured_mib

    def unloaded(self, names: tuple[str, ...]) -> Situation:
        back_mib = sum(m.held_mib for m in self.loaded if m.name in names)
        left = remove_models(self.loaded, names)
        free_mib = self.measured_free_mib + back_mib
        return Situation(left, self.wanted, self.capacity, free_mib, self.leases)


PickInteger = Callable[[int, int], int]  # a random integer within both bounds


def make_situation(pick: PickInteger) -> Situation:
    def make_reservation(name: str) -> Reservation:
        declared_mib, measured_mib = pick(1, 3000), pick(0, 1) * pick(1, 3000)
        left_mib = pick(0, 1) * pick(1, 300)
        rest = {"reload_ms": pick(0, 2), "preload": bool(pick(0, 1))}
        return Reservation(name, pick(1, 4), declared_mib, measured_mib, left_mib, **rest)

    loaded = []
    for name in "abcdef"[: pick(0, 6)]:
        reservation = make_reservation(name)
        loaded.append(
            ResidentModel(reservation, pick(0, reservation.charge_mib), NOW_MS - pick(0, 2))
        )
    leases = [
        VramLease(model.name, "room", NOW_MS + pick(-1, 5)) for model in loaded if pick(0, 2) == 0
    ]
    vram_mib = budget.sum_charged_mib(loaded) + pick(-500, 4000)
    measured_mib = vram_mib - sum(model.held_mib for model in loaded) - pick(0, 1500)
    capacity = GpuCapacity(vram_mib, pick(0, 500), pick(0, 1500))
    return Situation(loaded, make_reservation("wanted"), capacity, measured_mib, leases)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    return make_situation(lambda low, high: draw(st.integers(low, high)))


def check_plan(situation: Situation) -> str:
    """Check a plan against the rules; return its kind."""
    decision = situation.plan()
    predicted_mib, measured_mib = situation.shortfall()
    fits_now = predicted_mib <= 0 and measured_mib <= 0
    assert isinstance(decision, Load) == (
        fits_now and situation.wanted.charge_mib <= situation.capacity.largest_mib
    )
    match decision:
        case Evict(victims):
            best = find_cheapest_victims(situation.idle_evictable(), predicted_mib, measured_mib)
            assert victims == best
            assert isinstance(situation.unloaded(victims).plan(), Load)
        case Wait(models, until_ms):
            due = {m: max(x.until_ms for x in situation.leases if x.model == m) for m in models}
            assert all(NOW_MS < due_ms <= until_ms for due_ms in due.values())
            assert set(models) <= {model.name for model in situation.evictable()}
            situation.leases = [x for x in situation.leases if x.model not in models]
            assert isinstance(situation.plan(until_ms), Evict)
        case Refuse(reason):
            situation.leases = [x for x in situation.leases if x.until_ms <= NOW_MS]
            assert isinstance(situation.plan(), Refuse), "waiting would have succeeded"
            situation.leases = []
            assert isinstance(situation.plan(), Evict) == (reason == RefusalCode.STUCK)
            return reason
    return type(decision).__name__


def check_pressure_victims(situation: Situation) -> None:
    victims = _select_pressure_victims(situation)
    room_mib = situation.capacity.usable_mib - budget.sum_charged_mib(situation.loaded)
    spare_mib = situation.measured_free_mib - situation.capacity.headroom_mib
    by_name = {model.name: model for model in situation.loaded}
    extra = {name for name, model in by_name.items() if not model.reservation.preload}
    assert not victims or room_mib < 0 or spare_mib < 0
    assert not victims or extra or spare_mib < 0
    assert not extra or set(victims) <= extra
    assert not set(victims) & {lease.model for lease in situation.leases}
    assert all(by_name[name].reservation.priority > budget.CRITICAL_PRIORITY for name in victims)


@settings(max_examples=200)
@given(situations())
def test_every_plan_obeys_the_rules(situation: Situation) -> None:
    check_pressure_victims(situation)
    event(check_plan(situation))


def test_random_situations_obey_the_rules_and_cover_every_plan() -> None:
    seen = Counter[str]()
    for seed in range(10_000):
        pick = make_random(seed).randint
        check_pressure_victims(make_situation(pick))
        seen[check_plan(make_situation(pick))] += 1
    kinds = {"Load", "Evict", "Wait", *RefusalCode}
    assert {kind for kind in kinds if seen[kind] > 50} == kinds, seen


@settings(max_examples=200)
@given(situations(), st.integers(0, 1000))
def test_plan_does_not_depend_on_the_order_of_models_and_leases(
    situation: Situation, seed: int
) -> None:
    before = situation.plan(), _select_pressure_victims(situation)
    make_random(seed).shuffle(situation.loaded)
    make_random(seed).shuffle(situation.leases)
    assert (situation.plan(), _select_pressure_victims(situation)) == before


def _select_pressure_victims(situation: Situation) -> tuple[str, ...]:
    return budget.select_pressure_victims(
        situation.loaded, situation.capacity, situation.measured_free_mib, situation.leases
    )

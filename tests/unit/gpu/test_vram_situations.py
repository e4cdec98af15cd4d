"""Plans for thousands of random situations, held against a search through all possible victims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

from hypothesis import event, given, settings
from hypothesis import strategies as st

from barnabee.gpu.vram import budget
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
    Wait,
)
from support.vram import NOW_MS, cheapest_victims, seeded, without


@dataclass
class Situation:
    """Everything `plan` is told."""

    there: list[Resident]
    wanted: Claim
    capacity: Capacity
    measured_free_mib: int
    leases: list[Lease]

    def plan(self, now_ms: int = NOW_MS) -> Decision:
        return budget.plan(
            self.there, self.wanted, self.capacity, self.measured_free_mib, self.leases, now_ms
        )

    def idle_below(self) -> list[Resident]:
        leased = {lease.model for lease in self.leases}
        return [m for m in self.below() if m.name not in leased]

    def below(self) -> list[Resident]:
        return [m for m in self.there if m.claim.priority > self.wanted.priority]

    def short(self) -> tuple[int, int]:
        """What is missing of the predicted and of the measured room, in MiB."""
        need_mib = self.wanted.need_mib
        charged_mib = sum(max(m.claim.declared_mib, m.claim.measured_mib) for m in self.there)
        usable_mib = self.capacity.vram_mib - self.capacity.headroom_mib - self.capacity.other_mib
        measured_mib = self.measured_free_mib - self.capacity.headroom_mib
        return need_mib + charged_mib - usable_mib, need_mib - measured_mib

    def unloaded(self, names: tuple[str, ...]) -> Situation:
        back_mib = sum(m.held_mib for m in self.there if m.name in names)
        left = without(self.there, names)
        free_mib = self.measured_free_mib + back_mib
        return Situation(left, self.wanted, self.capacity, free_mib, self.leases)


Pick = Callable[[int, int], int]  # an integer between these, both included


def make_situation(pick: Pick) -> Situation:
    def claim(name: str) -> Claim:
        declared_mib, measured_mib = pick(1, 3000), pick(0, 1) * pick(1, 3000)
        left_mib = pick(0, 1) * pick(1, 300)
        rest = {"reload_ms": pick(0, 2), "preload": bool(pick(0, 1))}
        return Claim(name, pick(1, 4), declared_mib, measured_mib, left_mib, **rest)

    there = []
    for name in "abcdef"[: pick(0, 6)]:
        about = claim(name)
        there.append(Resident(about, pick(0, about.charge_mib), NOW_MS - pick(0, 2)))
    leases = [Lease(model.name, "room", NOW_MS + pick(-1, 5)) for model in there if pick(0, 2) == 0]
    vram_mib = budget.charged_mib(there) + pick(-500, 4000)
    measured_mib = vram_mib - sum(model.held_mib for model in there) - pick(0, 1500)
    capacity = Capacity(vram_mib, pick(0, 500), pick(0, 1500))
    return Situation(there, claim("wanted"), capacity, measured_mib, leases)


@st.composite
def situations(draw: st.DrawFn) -> Situation:
    return make_situation(lambda low, high: draw(st.integers(low, high)))


def check_plan(situation: Situation) -> str:
    """Hold a plan against the rules; return what kind of plan it was."""
    decision = situation.plan()
    predicted_mib, measured_mib = situation.short()
    fits_now = predicted_mib <= 0 and measured_mib <= 0
    assert isinstance(decision, Load) == (
        fits_now and situation.wanted.charge_mib <= situation.capacity.largest_mib
    )
    match decision:
        case Evict(victims):
            best = cheapest_victims(situation.idle_below(), predicted_mib, measured_mib)
            assert victims == best
            assert isinstance(situation.unloaded(victims).plan(), Load)
        case Wait(models, until_ms):
            due = {m: max(x.until_ms for x in situation.leases if x.model == m) for m in models}
            assert all(NOW_MS < due_ms <= until_ms for due_ms in due.values())
            assert set(models) <= {model.name for model in situation.below()}
            situation.leases = [x for x in situation.leases if x.model not in models]
            assert isinstance(situation.plan(until_ms), Evict)
        case Refuse(reason):
            situation.leases = [x for x in situation.leases if x.until_ms <= NOW_MS]
            assert isinstance(situation.plan(), Refuse), "waiting would have ended"
            situation.leases = []
            assert isinstance(situation.plan(), Evict) == (reason == Code.STUCK)
            return reason
    return type(decision).__name__


def check_relief(situation: Situation) -> None:
    gone = _relief(situation)
    room_mib = situation.capacity.usable_mib - budget.charged_mib(situation.there)
    spare_mib = situation.measured_free_mib - situation.capacity.headroom_mib
    by_name = {model.name: model for model in situation.there}
    extra = {name for name, model in by_name.items() if not model.claim.preload}
    assert not gone or room_mib < 0 or spare_mib < 0
    assert not gone or extra or spare_mib < 0
    assert not extra or set(gone) <= extra
    assert not set(gone) & {lease.model for lease in situation.leases}
    assert all(by_name[name].claim.priority > budget.CRITICAL for name in gone)


@settings(max_examples=200, deadline=None)
@given(situations())
def test_every_plan_keeps_the_rules(situation: Situation) -> None:
    check_relief(situation)
    event(check_plan(situation))


def test_thousands_of_situations_keep_the_rules_and_every_kind_of_plan_is_among_them() -> None:
    seen = Counter[str]()
    for seed in range(10_000):
        pick = seeded(seed).randint
        check_relief(make_situation(pick))
        seen[check_plan(make_situation(pick))] += 1
    kinds = {"Load", "Evict", "Wait", *Code}
    assert {kind for kind in kinds if seen[kind] > 50} == kinds, seen


@settings(max_examples=200, deadline=None)
@given(situations(), st.integers(0, 1000))
def test_the_same_situation_gives_the_same_plan_in_whatever_order_it_is_told(
    situation: Situation, seed: int
) -> None:
    before = situation.plan(), _relief(situation)
    seeded(seed).shuffle(situation.there)
    seeded(seed).shuffle(situation.leases)
    assert (situation.plan(), _relief(situation)) == before


def _relief(situation: Situation) -> tuple[str, ...]:
    return budget.relieve(
        situation.there, situation.capacity, situation.measured_free_mib, situation.leases
    )

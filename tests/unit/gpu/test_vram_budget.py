"""The policy of the card's memory: by example, then for thousands of random situations."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from barnabee.core import system
from barnabee.gpu.vram import budget
from barnabee.gpu.vram.terms import (
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
from support.vram import NOW_MS, cheapest_victims, decide, lease, resident, seeded, without

WANTED = Claim("wanted", 1, 400)


def victims(decision: Decision) -> tuple[str, ...]:
    assert isinstance(decision, Evict), decision
    return decision.victims


def code(decision: Decision) -> Code:
    assert isinstance(decision, Refuse), decision
    return decision.code


def test_a_model_that_is_there_is_used() -> None:
    assert decide([resident("wanted", 1, 400)], WANTED) == Use()


def test_a_model_for_which_there_is_room_is_loaded() -> None:
    assert decide([resident("a", 1, 500)], WANTED) == Load(need_mib=400, free_mib=400)


def test_the_headroom_is_never_given_away() -> None:
    assert code(decide([resident("a", 1, 501)], WANTED)) == Code.KEPT


def test_a_model_counts_with_what_it_was_measured_to_take() -> None:
    grown = resident("a", 1, 500, measured_mib=501)
    assert code(decide([grown], WANTED)) == Code.KEPT
    assert code(decide([resident("a", 1, 500)], Claim("wanted", 1, 400, 401))) == Code.KEPT


def test_the_smaller_of_measured_and_predicted_decides() -> None:
    there = [resident("a", 1, 100)]
    assert decide(there, WANTED, measured_free_mib=499) == Refuse(Code.TAKEN, 400, 399)
    assert isinstance(decide(there, WANTED, measured_free_mib=500), Load)
    assert isinstance(decide(there, Claim("big", 1, 801), measured_free_mib=1000), Refuse)


def test_what_a_model_left_behind_counts_for_it_and_not_against_it() -> None:
    capacity = Capacity(1000, 100, other_mib=200)
    assert code(decide([], Claim("w", 3, 850), capacity=capacity)) == Code.TAKEN
    again = Claim("w", 3, 850, left_mib=200)
    assert decide([], again, capacity=capacity) == Load(need_mib=650, free_mib=700)


@pytest.mark.parametrize(
    ("there", "first"),
    [
        ([resident("p2", 2, 400), resident("p3", 3, 400)], "p3"),
        ([resident("p3", 3, 400), resident("p2", 2, 400, idle_ms=9999)], "p3"),
        ([resident("new", 3, 400), resident("old", 3, 400, idle_ms=1)], "old"),
        ([resident("dear", 3, 400, reload_ms=9), resident("cheap", 3, 400, reload_ms=8)], "cheap"),
        ([resident("b", 3, 400), resident("a", 3, 400)], "a"),
    ],
)
def test_who_goes_first_is_the_least_important_then_unused_then_cheap(
    there: list[Resident], first: str
) -> None:
    assert victims(decide(there, WANTED)) == (first,)


def test_a_small_model_stays_when_a_large_one_must_go_anyway() -> None:
    there = [resident("small", 4, 100), resident("large", 3, 500), resident("kept", 1, 300)]
    assert victims(decide(there, WANTED)) == ("large",)


def test_several_small_ones_go_before_a_more_important_one() -> None:
    there = [resident("x", 3, 200), resident("y", 3, 200), resident("z", 2, 500)]
    assert victims(decide(there, WANTED)) == ("x", "y")


@pytest.mark.parametrize("priority", [1, 2, 3])
def test_no_model_makes_way_for_one_that_is_not_more_important(priority: int) -> None:
    there = [resident("a", priority, 800)]
    assert code(decide(there, Claim("wanted", priority, 400))) == Code.KEPT
    assert code(decide(there, Claim("wanted", priority + 1, 400))) == Code.KEPT


def test_a_model_in_use_is_waited_for() -> None:
    there = [resident("a", 2, 400), resident("b", 2, 400)]
    leases = (lease("a", 700), lease("a", 500), lease("b", 900))
    decision = decide(there, WANTED, leases=leases)
    assert decision == Wait(("a",), NOW_MS + 700, need_mib=400, free_mib=100)


def test_waiting_names_only_those_that_are_needed() -> None:
    there = [resident("first", 2, 100), resident("second", 2, 700)]
    leases = (lease("first", 100), lease("second", 200))
    decision = decide(there, WANTED, leases=leases)
    assert isinstance(decision, Wait)
    assert decision.models == ("second",)


def test_nobody_waits_for_a_model_that_would_not_make_way_when_returned() -> None:
    assert code(decide([resident("a", 1, 800)], WANTED, leases=(lease("a"),))) == Code.KEPT


def test_a_lease_beyond_its_limit_is_not_waited_for_and_still_protects() -> None:
    overdue = (lease("a", 0),)
    assert code(decide([resident("a", 2, 800)], WANTED, leases=overdue)) == Code.STUCK


def test_a_model_larger_than_the_card_says_so() -> None:
    assert code(decide([], Claim("wanted", 1, 901))) == Code.TOO_LARGE


def test_memory_taken_by_others_is_not_blamed_on_our_models() -> None:
    others = Capacity(1000, 100, other_mib=300)
    assert code(decide([resident("a", 1, 300)], WANTED, capacity=others)) == Code.TAKEN


def test_whisper_fits_beside_everything_that_is_preloaded() -> None:
    graph = system.load()
    claims = {name: Claim.of(name, model) for name, model in graph.model.items()}
    there = [
        Resident(claim, claim.declared_mib, NOW_MS) for claim in claims.values() if claim.preload
    ]
    capacity = Capacity(graph.card.vram_mib, graph.card.headroom_mib)
    measured_mib = 16384 - (3584 + 2560 + 512 + 307)
    decision = budget.plan(there, claims["whisper"], capacity, measured_mib, [], NOW_MS)
    assert decision == Load(need_mib=5120, free_mib=5632)


def test_under_pressure_what_is_not_preloaded_goes_first_and_alone() -> None:
    there = [resident("lazy", 3, 200, preload=False), resident("pre", 2, 200)]
    capacity = Capacity(1000, 100, other_mib=600)
    assert budget.relieve(there, capacity, 0, ()) == ("lazy",)
    assert budget.relieve(there, capacity, 0, (lease("lazy"),)) == ()


def test_a_preloaded_model_goes_only_when_the_card_is_really_short() -> None:
    there = [resident("p1", 1, 500), resident("p2", 2, 200)]
    capacity = Capacity(1000, 100, other_mib=300)
    assert budget.relieve(there, capacity, 100, ()) == ()
    assert budget.relieve(there, capacity, 99, ()) == ("p2",)
    assert budget.relieve(there[:1], capacity, 99, ()) == ()


def test_only_what_is_not_preloaded_goes_after_long_disuse() -> None:
    there = [
        resident("used", 3, 1, idle_ms=9, preload=False),
        resident("unused", 3, 1, idle_ms=10, preload=False),
        resident("leased", 3, 1, idle_ms=10, preload=False),
        resident("preloaded", 3, 1, idle_ms=10),
    ]
    assert budget.unused(there, [lease("leased")], NOW_MS, 10) == ("unused",)


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

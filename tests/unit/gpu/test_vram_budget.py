"""The policy of the card's memory by example; `test_vram_situations` has thousands at random."""

from __future__ import annotations

import pytest

from barnabee.core import system
from barnabee.gpu.vram import budget
from barnabee.gpu.vram.types import (
    Capacity,
    Claim,
    Code,
    Decision,
    Evict,
    Load,
    Refuse,
    Resident,
    Use,
    Wait,
)
from support.vram import NOW_MS, decide, lease, resident

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
    assert code(decide([], Claim("wanted", 1, 901, left_mib=200))) == Code.TOO_LARGE


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

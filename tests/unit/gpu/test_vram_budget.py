"""VRAM budget by example; `test_vram_budget_random` has random situations."""

from __future__ import annotations

import pytest

from barnabee.core import system
from barnabee.gpu.vram import budget
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
    Wait,
)
from support.vram import NOW_MS, make_lease, make_plan, make_resident

WANTED = Reservation("wanted", 1, 400)


def victims(decision: Decision) -> tuple[str, ...]:
    assert isinstance(decision, Evict), decision
    return decision.victims


def code(decision: Decision) -> RefusalCode:
    assert isinstance(decision, Refuse), decision
    return decision.code


def test_resident_model_needs_no_load() -> None:
    assert make_plan([make_resident("wanted", 1, 400)], WANTED) == AlreadyLoaded()


def test_model_that_fits_is_loaded() -> None:
    assert make_plan([make_resident("a", 1, 500)], WANTED) == Load(need_mib=400, free_mib=400)


def test_headroom_stays_free() -> None:
    assert code(make_plan([make_resident("a", 1, 501)], WANTED)) == RefusalCode.NOT_EVICTABLE


def test_measured_peak_above_the_declared_one_is_charged() -> None:
    grown = make_resident("a", 1, 500, measured_mib=501)
    assert code(make_plan([grown], WANTED)) == RefusalCode.NOT_EVICTABLE
    assert (
        code(make_plan([make_resident("a", 1, 500)], Reservation("wanted", 1, 400, 401)))
        == RefusalCode.NOT_EVICTABLE
    )


def test_free_memory_is_the_smaller_of_measured_and_predicted() -> None:
    loaded = [make_resident("a", 1, 100)]
    assert make_plan(loaded, WANTED, measured_free_mib=499) == Refuse(RefusalCode.TAKEN, 400, 399)
    assert isinstance(make_plan(loaded, WANTED, measured_free_mib=500), Load)
    assert isinstance(make_plan(loaded, Reservation("big", 1, 801), measured_free_mib=1000), Refuse)


def test_unreclaimed_memory_is_reused_by_its_own_model() -> None:
    capacity = GpuCapacity(1000, 100, other_mib=200)
    assert code(make_plan([], Reservation("w", 3, 850), capacity=capacity)) == RefusalCode.TAKEN
    again = Reservation("w", 3, 850, left_mib=200)
    assert make_plan([], again, capacity=capacity) == Load(need_mib=650, free_mib=700)


@pytest.mark.parametrize(
    ("loaded", "first"),
    [
        ([make_resident("p2", 2, 400), make_resident("p3", 3, 400)], "p3"),
        ([make_resident("p3", 3, 400), make_resident("p2", 2, 400, idle_ms=9999)], "p3"),
        ([make_resident("new", 3, 400), make_resident("old", 3, 400, idle_ms=1)], "old"),
        (
            [
                make_resident("dear", 3, 400, reload_ms=9),
                make_resident("cheap", 3, 400, reload_ms=8),
            ],
            "cheap",
        ),
        ([make_resident("b", 3, 400), make_resident("a", 3, 400)], "a"),
    ],
)
def test_eviction_order_is_priority_then_last_use_then_reload_cost(
    loaded: list[ResidentModel], first: str
) -> None:
    assert victims(make_plan(loaded, WANTED)) == (first,)


def test_small_model_is_spared_when_a_large_victim_suffices() -> None:
    loaded = [
        make_resident("small", 4, 100),
        make_resident("large", 3, 500),
        make_resident("kept", 1, 300),
    ]
    assert victims(make_plan(loaded, WANTED)) == ("large",)


def test_several_small_models_are_evicted_before_a_more_important_one() -> None:
    loaded = [make_resident("x", 3, 200), make_resident("y", 3, 200), make_resident("z", 2, 500)]
    assert victims(make_plan(loaded, WANTED)) == ("x", "y")


@pytest.mark.parametrize("priority", [1, 2, 3])
def test_model_is_not_evicted_for_one_of_the_same_or_lower_priority(priority: int) -> None:
    loaded = [make_resident("a", priority, 800)]
    assert (
        code(make_plan(loaded, Reservation("wanted", priority, 400))) == RefusalCode.NOT_EVICTABLE
    )
    assert (
        code(make_plan(loaded, Reservation("wanted", priority + 1, 400)))
        == RefusalCode.NOT_EVICTABLE
    )


def test_leased_model_is_awaited() -> None:
    loaded = [make_resident("a", 2, 400), make_resident("b", 2, 400)]
    leases = (make_lease("a", 700), make_lease("a", 500), make_lease("b", 900))
    decision = make_plan(loaded, WANTED, leases=leases)
    assert decision == Wait(("a",), NOW_MS + 700, need_mib=400, free_mib=100)


def test_wait_names_only_the_models_that_are_needed() -> None:
    loaded = [make_resident("first", 2, 100), make_resident("second", 2, 700)]
    leases = (make_lease("first", 100), make_lease("second", 200))
    decision = make_plan(loaded, WANTED, leases=leases)
    assert isinstance(decision, Wait)
    assert decision.models == ("second",)


def test_leased_model_that_is_not_evictable_is_not_awaited() -> None:
    assert (
        code(make_plan([make_resident("a", 1, 800)], WANTED, leases=(make_lease("a"),)))
        == RefusalCode.NOT_EVICTABLE
    )


def test_overdue_lease_is_not_awaited_and_prevents_eviction() -> None:
    overdue = (make_lease("a", 0),)
    assert (
        code(make_plan([make_resident("a", 2, 800)], WANTED, leases=overdue)) == RefusalCode.STUCK
    )


def test_model_larger_than_the_gpu_is_refused() -> None:
    assert code(make_plan([], Reservation("wanted", 1, 901))) == RefusalCode.TOO_LARGE
    assert code(make_plan([], Reservation("wanted", 1, 901, left_mib=200))) == RefusalCode.TOO_LARGE


def test_memory_of_other_programs_has_its_own_refusal_code() -> None:
    others = GpuCapacity(1000, 100, other_mib=300)
    assert (
        code(make_plan([make_resident("a", 1, 300)], WANTED, capacity=others)) == RefusalCode.TAKEN
    )


def test_whisper_fits_beside_all_preloaded_models() -> None:
    graph = system.load_system()
    claims = {name: Reservation.from_config(name, model) for name, model in graph.model.items()}
    loaded = [
        ResidentModel(claim, claim.declared_mib, NOW_MS)
        for claim in claims.values()
        if claim.preload
    ]
    capacity = GpuCapacity(graph.gpu.vram_mib, graph.gpu.headroom_mib)
    measured_mib = 16384 - (3584 + 2560 + 512 + 307)
    decision = budget.plan(loaded, claims["whisper"], capacity, measured_mib, [], NOW_MS)
    assert decision == Load(need_mib=5120, free_mib=5632)


def test_memory_pressure_unloads_optional_models_first() -> None:
    loaded = [make_resident("lazy", 3, 200, preload=False), make_resident("pre", 2, 200)]
    capacity = GpuCapacity(1000, 100, other_mib=600)
    assert budget.select_pressure_victims(loaded, capacity, 0, ()) == ("lazy",)
    assert budget.select_pressure_victims(loaded, capacity, 0, (make_lease("lazy"),)) == ()


def test_memory_pressure_unloads_preloaded_models_only_below_headroom() -> None:
    loaded = [make_resident("p1", 1, 500), make_resident("p2", 2, 200)]
    capacity = GpuCapacity(1000, 100, other_mib=300)
    assert budget.select_pressure_victims(loaded, capacity, 100, ()) == ()
    assert budget.select_pressure_victims(loaded, capacity, 99, ()) == ("p2",)
    assert budget.select_pressure_victims(loaded[:1], capacity, 99, ()) == ()


def test_only_unused_optional_models_are_unloaded_when_idle() -> None:
    loaded = [
        make_resident("used", 3, 1, idle_ms=9, preload=False),
        make_resident("unused", 3, 1, idle_ms=10, preload=False),
        make_resident("leased", 3, 1, idle_ms=10, preload=False),
        make_resident("preloaded", 3, 1, idle_ms=10),
    ]
    assert budget.select_idle_models(loaded, [make_lease("leased")], NOW_MS, 10) == ("unused",)

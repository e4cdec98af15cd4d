"""The manager over a card that the test controls, and engines that hold what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import pytest

from barnabee.core.errors import (
    DependencyDown,
    ModelInUse,
    QueueFull,
    TimedOut,
    VramExhausted,
    VramKept,
    VramTooLarge,
)
from barnabee.gpu.metrics import GpuMetrics
from barnabee.gpu.model_runtime import Slot, State
from barnabee.gpu.vram.events import Kind
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.manager import Manager
from barnabee.testing.engines import FakeVoice, Gate
from barnabee.testing.gpu_memory import FakeCard
from support.vram import card, model
from support.wait import until


@dataclass
class Engine:
    """Holds memory on the fake card; `troubles` are what its next loads and calls raise."""

    name: str
    mib: int
    card: FakeCard
    troubles: list[Exception] = field(default_factory=list)
    refuses: bool = False
    leaves_mib: int = 0

    def warm_up(self) -> None:
        self.stumble()
        self.card.take(self.name, self.mib)

    def close(self) -> None:
        if self.refuses:
            msg = "still referenced"
            raise RuntimeError(msg)
        self.card.take(self.name, self.leaves_mib)

    def stumble(self) -> None:
        if self.troubles:
            raise self.troubles.pop(0)

    def work(self) -> str:
        self.stumble()
        return self.name


@dataclass
class House:
    """A running manager with the models `a` (critical), `b` (preloaded) and `c` (lazy)."""

    manager: Manager
    card: FakeCard
    engines: dict[str, Engine]

    def states(self) -> dict[str, State]:
        return {name: slot.state for name, slot in self.manager.slots.items()}

    def kinds(self, name: str) -> list[Kind]:
        return [entry.kind for _, entry in self.manager.decisions if entry.model == name]


TABLE = {"a": (1, 400, True), "b": (2, 300, True), "c": (3, 200, False), "d": (1, 500, False)}


@asynccontextmanager
async def house(
    prepare: Callable[[dict[str, Engine]], object] | None = None,
    *,
    total_mib: int = 1000,
    names: str = "abcd",
    **limits: int,
) -> AsyncIterator[House]:
    fake = FakeCard(total_mib)
    fake.take("the process itself", 50)
    engines = {name: Engine(name, TABLE[name][1] - 20, fake) for name in names}
    if prepare:
        prepare(engines)
    models = {name: model(TABLE[name][0], TABLE[name][1], preload=TABLE[name][2]) for name in names}
    slots: list[Slot[Any]] = [
        Slot("stt", name, lambda name=name: engines[name])
        for name in names  # type: ignore[misc]
    ]
    ledger = Ledger(card(total_mib, 50, **limits), models)
    manager = Manager(ledger, slots, fake, GpuMetrics("gpu"))
    running = asyncio.create_task(manager.run())
    try:
        preloaded = [name for name in names if TABLE[name][2]]
        await until(lambda: all(manager.was_tried(name) for name in preloaded))
        yield House(manager, fake, engines)
    finally:
        running.cancel()
        with suppress(asyncio.CancelledError):
            await running


async def use(house: House, name: str) -> str:
    async with house.manager.lease(name) as lease:
        result: str = await lease.call(lease.engine.work)
        return result


async def test_what_is_preloaded_is_there_and_the_rest_comes_when_it_is_asked_for() -> None:
    async with house(names="abc") as one:
        assert one.states() == {"a": State.READY, "b": State.READY, "c": State.ABSENT}
        assert await use(one, "c") == "c"
        assert one.states()["c"] is State.READY


async def test_the_ledger_holds_what_the_card_says() -> None:
    async with house(names="abc") as one:
        await use(one, "c")
        held = {name: row.held_mib for name, row in one.manager.ledger.resident.items()}
        assert held == {"a": 380, "b": 280, "c": 180}
        assert one.manager.view.base_mib == 50
        assert sum(held.values()) + 50 == one.card.read().ours_mib


async def test_the_less_important_makes_way_and_its_memory_is_waited_for() -> None:
    async with house() as one:
        assert await use(one, "d") == "d"
        assert one.states()["b"] is State.ABSENT
        assert one.states()["a"] is State.READY
        assert one.kinds("b")[2:4] == [Kind.EVICT, Kind.UNLOADED]


async def test_what_is_leased_stays_and_whoever_waits_is_served_afterwards() -> None:
    async with house() as one:
        async with one.manager.lease("b"):
            waiting = asyncio.create_task(use(one, "d"))
            await until(lambda: Kind.WAIT in one.kinds("d"))
            assert one.states()["b"] is State.READY
        assert await waiting == "d"
        assert one.states()["b"] is State.ABSENT


async def begin(house: House, *models: str) -> list[str]:
    manager = house.manager
    return await manager.turns.begin("t", "kitchen", models, now_ms=manager.now_ms())


async def test_a_turn_keeps_its_models_and_ends_by_itself_when_nobody_ends_it() -> None:
    async with house(turn_limit_ms=600) as one:
        assert await begin(one, "a", "b") == ["a", "b"]
        with pytest.raises(ModelInUse):
            await one.manager.unload("b")
        assert await use(one, "d") == "d"  # waits until the turn is over its limit
        assert not one.manager.turns


async def test_a_turn_that_ends_while_it_waits_for_a_model_keeps_nothing() -> None:
    async with house() as one:
        async with one.manager.lease("b"):
            beginning = asyncio.create_task(begin(one, "a", "d"))
            await until(lambda: Kind.WAIT in one.kinds("d"))
            assert one.manager.turns.end("t")
        assert await beginning == ["a"]
        assert one.manager.ledger.leases == {}


async def test_equals_never_evict_each_other() -> None:
    async with house() as one:
        await use(one, "d")
        with pytest.raises(VramKept):
            await use(one, "b")


async def test_what_is_larger_than_the_card_is_refused_at_once() -> None:
    async with house(total_mib=500, names="bd") as one:
        with pytest.raises(VramTooLarge):
            await use(one, "d")


async def test_a_full_line_is_429_and_a_long_wait_is_a_timeout() -> None:
    async with house(queue_depth=1, wait_limit_ms=600) as one, one.manager.lease("b"):
        first = asyncio.create_task(use(one, "d"))
        await until(lambda: bool(one.manager.ledger.waiting))
        with pytest.raises(QueueFull) as refused:
            await use(one, "c")
        assert (refused.value.status, refused.value.retry_after_s) == (429, 2)
        with pytest.raises(TimedOut):
            await first


async def test_a_refused_unloading_leaves_everything_as_it_was() -> None:
    async with house(lambda engines: setattr(engines["b"], "refuses", True)) as one:
        with pytest.raises(ModelInUse):
            await one.manager.unload("b")
        assert one.kinds("b")[-1] is Kind.KEPT
        assert await use(one, "b") == "b"
        assert one.card.held_mib["b"] == 280


async def test_leftovers_of_an_unloading_are_counted_and_taken_up_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("barnabee.gpu.vram.loader.BACK_LIMIT_S", 0.2)
    async with house(lambda engines: setattr(engines["b"], "leaves_mib", 100)) as one:
        await one.manager.unload("b")
        assert one.manager.ledger.claims["b"].left_mib == 100
        assert one.manager.decisions[-1][1].why == "100 MiB are not back"
        assert await use(one, "b") == "b"
        await until(lambda: one.manager.ledger.resident["b"].held_mib == 280)


async def test_memory_that_runs_out_while_loading_is_made_and_tried_once_more() -> None:
    def prepare(engines: dict[str, Engine]) -> None:
        engines["a"].troubles = [RuntimeError("CUDA out of memory")]

    async with house(prepare) as one:
        assert one.states()["a"] is State.READY
        assert Kind.OUT_OF_MEMORY in one.kinds("a")


async def test_memory_that_runs_out_twice_is_an_error_with_a_code() -> None:
    async with house(names="abc") as one:
        one.engines["c"].troubles = [MemoryError("none"), MemoryError("none")]
        with pytest.raises(VramExhausted):
            await use(one, "c")
        assert one.states()["c"] is State.FAILED
        assert one.states()["a"] is State.READY


async def test_an_inference_without_memory_gets_room_by_rule_and_a_second_try() -> None:
    async with house(names="abc") as one:
        await use(one, "c")
        one.engines["b"].troubles = [RuntimeError("Failed to allocate memory for 1 MB")]
        assert await use(one, "b") == "b"
        assert one.states()["c"] is State.ABSENT  # less important
        assert one.states()["a"] is State.READY  # more important
        one.engines["b"].troubles = [MemoryError("no"), MemoryError("no")]
        with pytest.raises(VramExhausted):
            await use(one, "b")


async def test_other_programs_that_take_memory_push_out_what_is_not_needed() -> None:
    async with house(names="abc") as one:
        await use(one, "c")
        one.card.others(200)
        await until(lambda: one.states()["c"] is State.ABSENT)
        assert one.states()["a"] is State.READY
        assert Kind.PRESSURE in one.kinds("c")


async def test_what_is_not_used_goes_after_a_while() -> None:
    async with house(names="abc", idle_unload_s=1) as one:
        await use(one, "c")
        await until(lambda: one.states()["c"] is State.ABSENT)
        assert one.states() == {"a": State.READY, "b": State.READY, "c": State.ABSENT}


async def test_growth_is_booked_to_whoever_was_used() -> None:
    async with house(names="abc") as one:
        await use(one, "b")
        one.card.take("b", 330)
        await until(lambda: one.manager.ledger.resident["b"].held_mib == 330)
        assert one.manager.ledger.resident["a"].held_mib == 380
        assert one.manager.ledger.claims["b"].measured_mib == 330


async def test_a_caller_who_leaves_while_waiting_holds_nothing_afterwards() -> None:
    async with house() as one:
        async with one.manager.lease("b"):
            waiting = asyncio.create_task(use(one, "d"))
            await until(lambda: bool(one.manager.ledger.waiting))
            waiting.cancel()
            with suppress(asyncio.CancelledError):
                await waiting
        await until(lambda: not one.manager.ledger.waiting and not one.manager.ledger.leases)


async def test_memory_is_safe_until_the_inference_of_a_caller_who_left_ends() -> None:
    gate = Gate()
    async with house() as one:

        async def leave() -> None:
            async with one.manager.lease("b") as lease:
                await lease.call(gate.passed)

        task = asyncio.create_task(leave())
        await asyncio.to_thread(gate.reached.wait)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        assert len(one.manager.ledger.leases) == 1
        gate.opened.set()
        await until(lambda: not one.manager.ledger.leases)


async def test_a_driver_that_does_not_answer_is_red_and_green_again() -> None:
    async with house(names="abc") as one:
        one.manager.check()
        one.card.failing(DependencyDown(dependency="the card's driver", reason="lost"))
        await until(lambda: one.manager.view.trouble is not None)
        with pytest.raises(DependencyDown, match="driver"):
            one.manager.check()
        assert await use(one, "b") == "b"  # what is there still works
        one.card.failing(None)
        await until(lambda: one.manager.view.trouble is None)
        one.manager.check()


async def test_a_manager_that_no_longer_looks_is_red() -> None:
    now = [0.0]
    models = {"a": model(1, 100)}
    manager = Manager(
        Ledger(card(), models),
        [Slot("tts", "a", FakeVoice)],
        FakeCard(1000),
        GpuMetrics("gpu"),
        clock=lambda: now[0],
    )
    manager.check()
    now[0] = 11.0
    with pytest.raises(TimedOut, match="manager"):
        manager.check()


async def test_a_model_that_cannot_be_loaded_says_why_at_once_and_is_tried_again_later() -> None:
    def prepare(engines: dict[str, Engine]) -> None:
        engines["b"].troubles = [ValueError("bad file")] * 2

    async with house(prepare, names="abc") as one:
        with pytest.raises(DependencyDown, match="bad file"):
            await use(one, "b")
        one.engines["b"].troubles = []
        await until(lambda: one.states()["b"] is State.READY)


async def test_many_sessions_with_one_model_each_get_their_turn() -> None:
    async with house(queue_depth=32) as one:
        names = ["a", "b", "c", "d"] * 6
        results = await asyncio.gather(*(use(one, name) for name in names), return_exceptions=True)
        refused = [result for result in results if isinstance(result, Exception)]
        assert all(isinstance(error, VramKept) for error in refused)
        assert {result for result in results if isinstance(result, str)} >= {"a", "d"}
        assert not one.manager.ledger.leases


async def test_while_a_microphone_listens_growth_is_still_booked_to_whoever_was_used() -> None:
    async with house(names="abc") as one, one.manager.lease("a", standing=True):
        async with one.manager.lease("b") as lease:
            await lease.call(lambda: one.card.take("b", 330))
            await until(lambda: one.manager.ledger.resident["b"].held_mib == 330)
        gate = Gate()

        async def compute() -> None:
            async with one.manager.lease("b") as lease:
                await lease.call(gate.passed)

        computing = asyncio.create_task(compute())
        await asyncio.to_thread(gate.reached.wait)
        one.card.take("b", 360)
        await until(lambda: one.manager.ledger.claims["b"].measured_mib == 360)
        gate.opened.set()
        await computing
        assert one.manager.ledger.claims["a"].measured_mib == 380


async def test_a_standing_lease_is_never_overdue_and_keeps_its_model() -> None:
    async with house(names="abc") as one:
        async with one.manager.lease("c", standing=True):
            (lease,) = one.manager.ledger.leases.values()
            first_ms = lease.until_ms
            await until(lambda: next(iter(one.manager.ledger.leases.values())).until_ms > first_ms)
            with pytest.raises(ModelInUse):
                await one.manager.unload("c")
        assert not one.manager.ledger.leases
        await one.manager.unload("c")

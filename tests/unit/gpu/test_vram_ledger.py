"""The ledger's steps by example; `test_vram_machine` has the storms."""

from __future__ import annotations

import pytest

from barnabee.core.schema import Model
from barnabee.gpu.vram.events import OVERLOADED, TIMED_OUT, UNLOADING, Entry, Kind
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.preload import RETRY_MS
from barnabee.gpu.vram.types import Code, Lease, Sight
from support.vram import card, model

FREE = Sight(free_mib=10_000)
TURN, LAZY, SIDE = "turn", "lazy", "side"


class Driver:
    """Drives a ledger and carries everything out at once, as a manager would."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.now_ms = 0
        self.tickets = 0
        self.hold: set[str] = set()  # models whose loading or unloading does not end by itself

    def ask(self, name: str, session: str = "kitchen") -> list[Entry]:
        self.tickets += 1
        return self.ledger.ask(self.tickets, name, session, self.now_ms) + self.run()

    def release(self, ticket: int) -> list[Entry]:
        return self.ledger.release(ticket, self.now_ms) + self.run()

    def later(self, by_ms: int) -> list[Entry]:
        self.now_ms += by_ms
        return self.run()

    def run(self, sight: Sight = FREE) -> list[Entry]:
        entries: list[Entry] = []
        while True:
            entries += self.ledger.step(self.now_ms, sight)
            done = self.finish()
            if not done:
                return entries
            entries += done

    def finish(self) -> list[Entry]:
        loading = self.ledger.loading
        if loading and loading not in self.hold:
            return self.ledger.loaded(loading, self.now_ms, held_mib=1, took_ms=5)
        for name in sorted(self.ledger.unloading - self.hold):
            return self.ledger.unloaded(name, self.now_ms)
        return []


def made(**models: Model) -> Driver:
    return Driver(Ledger(card(), models))


def said(entries: list[Entry]) -> list[tuple[str, str]]:
    return [(entry.kind, entry.model) for entry in entries]


@pytest.fixture
def house() -> Driver:
    """Two thirds of the card preloaded; one of the other two models fits beside it."""
    driver = made(turn=model(1, 600, preload=True), lazy=model(3, 300), side=model(2, 200))
    driver.run()
    return driver


def test_what_is_preloaded_is_loaded_by_importance_and_size() -> None:
    driver = made(
        small=model(1, 10, preload=True),
        second=model(2, 500, preload=True),
        large=model(1, 90, preload=True),
        lazy=model(1, 100),
    )
    loads = [entry.model for entry in driver.run() if entry.kind == Kind.LOAD]
    assert loads == ["large", "small", "second"]


def test_a_model_that_is_there_is_granted_at_once(house: Driver) -> None:
    assert said(house.ledger.ask(9, TURN, "kitchen", 0)) == [(Kind.GRANT, TURN)]


def test_a_model_that_is_not_there_is_loaded_and_then_granted(house: Driver) -> None:
    assert said(house.ask(LAZY)) == [
        (Kind.LOAD, LAZY),
        (Kind.LOADED, LAZY),
        (Kind.GRANT, LAZY),
    ]


def test_two_who_ask_for_the_same_model_cause_one_load(house: Driver) -> None:
    house.hold = {LAZY}
    house.ask(LAZY)
    house.ask(LAZY, "office")
    house.hold = set()
    assert [kind for kind, _ in said(house.run())] == [Kind.LOADED, Kind.GRANT, Kind.GRANT]


def test_an_idle_model_goes_for_a_more_important_one(house: Driver) -> None:
    house.ask(LAZY)
    house.release(1)
    entries = house.ask(SIDE)
    assert (Kind.EVICT, LAZY) in said(entries)
    assert said(entries)[-1] == (Kind.GRANT, SIDE)
    assert set(house.ledger.resident) == {TURN, SIDE}


def test_who_asks_for_a_model_that_is_just_being_evicted_waits_and_gets_an_answer(
    house: Driver,
) -> None:
    house.ask(LAZY)
    house.release(1)
    house.hold = {LAZY}
    house.ask(SIDE)
    assert said(house.ask(LAZY)) == []
    house.hold = set()
    entries = house.run()
    assert said(entries)[-2:] == [(Kind.GRANT, SIDE), (Kind.REFUSE, LAZY)]
    assert entries[-1].code == Code.KEPT
    assert not house.ledger.waiting


def test_an_unloading_that_is_refused_leaves_the_ledger_as_it_was(house: Driver) -> None:
    house.ask(LAZY)
    house.release(1)
    before = dict(house.ledger.resident)
    house.hold = {LAZY}
    house.ask(SIDE)
    house.ledger.kept(LAZY, house.now_ms, "in use after all")
    assert house.ledger.resident == before
    assert not house.ledger.unloading


def test_newcomers_cannot_keep_a_model_that_an_important_one_waits_for(house: Driver) -> None:
    house.ask(LAZY)
    assert said(house.ask(SIDE)) == [(Kind.WAIT, SIDE)]
    assert said(house.ask(LAZY, "office")) == []
    assert said(house.ask(LAZY, "kitchen")) == [(Kind.GRANT, LAZY)], "it has it already"
    house.release(1)
    assert (Kind.GRANT, SIDE) in said(house.release(4))


def test_a_wait_is_reported_once(house: Driver) -> None:
    house.ask(LAZY)
    house.ask(SIDE)
    assert house.later(10) == []


def test_who_waits_too_long_is_told(house: Driver) -> None:
    house.ask(LAZY)
    house.ask(SIDE)
    house.ledger.leases[1] = Lease(LAZY, "kitchen", until_ms=99_999)
    assert house.later(9_999) == []
    assert [(entry.kind, entry.code) for entry in house.later(1)] == [(Kind.REFUSE, TIMED_OUT)]


def test_nobody_goes_on_waiting_for_a_model_that_is_overdue(house: Driver) -> None:
    house.ask(LAZY)
    house.ask(SIDE)
    assert house.later(4_999) == []
    assert [entry.code for entry in house.later(1)] == [Code.STUCK]


def test_a_full_line_is_said_to_be_full(house: Driver) -> None:
    house.hold = {LAZY}
    codes = [entry.code for _ in range(5) for entry in house.ask(LAZY)]
    assert codes == ["", OVERLOADED]


def test_a_failed_load_is_told_to_everybody_who_waits_for_it(house: Driver) -> None:
    house.hold = {LAZY}
    house.ask(LAZY)
    house.ask(LAZY)
    entries = house.ledger.load_failed(LAZY, 0, "vram_exhausted", "out of memory")
    assert [entry.code for entry in entries] == ["vram_exhausted"] * 3
    assert LAZY not in house.ledger.resident
    assert said(house.run()) == []


def test_a_preload_that_failed_is_tried_again_later() -> None:
    driver = made(turn=model(1, 600, preload=True))
    driver.hold = {TURN}
    driver.run()
    driver.ledger.load_failed(TURN, 0, "vram_exhausted", "out of memory")
    assert driver.later(RETRY_MS - 1) == []
    assert said(driver.later(1)) == [(Kind.LOAD, TURN)]


def test_what_the_house_needs_is_loaded_before_what_somebody_asks_for() -> None:
    driver = made(turn=model(1, 600, preload=True), lazy=model(3, 300))
    loads = [entry.model for entry in driver.ask(LAZY) if entry.kind == Kind.LOAD]
    assert loads == [TURN, LAZY]


def test_what_is_missing_is_said_once_and_comes_back_when_there_is_room() -> None:
    driver = made(turn=model(1, 600, preload=True))
    taken = Sight(free_mib=500, other_mib=500)
    assert [(entry.kind, entry.code) for entry in driver.run(taken)] == [(Kind.REFUSE, Code.TAKEN)]
    assert driver.run(taken) == []
    assert said(driver.run()) == [(Kind.LOAD, TURN), (Kind.LOADED, TURN)]


def test_what_nobody_has_used_for_long_goes_unless_it_is_preloaded(house: Driver) -> None:
    house.ask(LAZY)
    house.later(1_000)
    house.release(1)
    assert house.later(59_999) == []
    assert said(house.later(1)) == [(Kind.IDLE, LAZY), (Kind.UNLOADED, LAZY)]
    assert set(house.ledger.resident) == {TURN}


def test_when_others_take_memory_the_extra_model_goes_once_it_is_not_in_use(
    house: Driver,
) -> None:
    house.ask(LAZY)
    pressed = Sight(free_mib=50, other_mib=100)
    assert house.run(pressed) == []
    house.ledger.release(1, 0)
    assert said(house.run(pressed)) == [(Kind.PRESSURE, LAZY), (Kind.UNLOADED, LAZY)]


def test_what_was_measured_is_never_forgotten(house: Driver) -> None:
    house.ledger.measured(TURN, held_mib=500, highest_mib=700)
    house.ledger.measured(TURN, held_mib=400, highest_mib=450)
    assert house.ledger.charged_mib == 700
    assert house.ledger.resident[TURN].held_mib == 400
    assert house.ledger.claims[TURN].reload_ms == 5, "the load was measured too"


def test_a_turn_may_keep_its_models_longer_than_a_single_inference(house: Driver) -> None:
    house.ledger.ask(8, TURN, "kitchen", 0, turn=True)
    house.ledger.ask(9, TURN, "kitchen", 0)
    assert house.ledger.leases[8].until_ms == 30_000
    assert house.ledger.leases[9].until_ms == 5_000


def test_every_entry_says_why(house: Driver) -> None:
    entries = [*house.ask(LAZY), *house.ask(SIDE), *house.release(1), *house.ask(LAZY)]
    silent = {Kind.UNLOADED}
    assert {entry.kind for entry in entries} & UNLOADING
    assert all(entry.why for entry in entries if entry.kind not in silent)

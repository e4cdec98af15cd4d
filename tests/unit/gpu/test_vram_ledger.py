"""Steps of the ledger by example; `test_vram_ledger_stateful` has random histories."""

from __future__ import annotations

import pytest

from barnabee.core.schema import ModelConfig
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.queue import PRELOAD_RETRY_MS
from barnabee.gpu.vram.types import (
    QUEUE_FULL,
    TIMED_OUT,
    UNLOAD_KINDS,
    EventKind,
    LedgerEvent,
    MeasuredMemory,
    RefusalCode,
    VramLease,
)
from support.vram import make_gpu, make_model

FREE = MeasuredMemory(free_mib=10_000)
TURN, LAZY, SIDE = "turn", "lazy", "side"


class Driver:
    """Driver of a ledger that finishes loads and unloads at once."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.now_ms = 0
        self.tickets = 0
        self.unfinished: set[str] = set()  # models whose load or unload does not finish

    def request(self, name: str, session: str = "kitchen") -> list[LedgerEvent]:
        self.tickets += 1
        return self.ledger.request(self.tickets, name, session, self.now_ms) + self.run()

    def release(self, ticket: int) -> list[LedgerEvent]:
        return self.ledger.release(ticket, self.now_ms) + self.run()

    def advance(self, by_ms: int) -> list[LedgerEvent]:
        self.now_ms += by_ms
        return self.run()

    def run(self, memory: MeasuredMemory = FREE) -> list[LedgerEvent]:
        events: list[LedgerEvent] = []
        while True:
            events += self.ledger.step(self.now_ms, memory)
            finished = self.finish()
            if not finished:
                return events
            events += finished

    def finish(self) -> list[LedgerEvent]:
        loading = self.ledger.loading
        if loading and loading not in self.unfinished:
            return self.ledger.record_loaded(loading, self.now_ms, held_mib=1, took_ms=5)
        for name in sorted(self.ledger.unloading - self.unfinished):
            return self.ledger.record_unloaded(name, self.now_ms)
        return []


def make_driver(**models: ModelConfig) -> Driver:
    return Driver(Ledger(make_gpu(), models))


def summarize(events: list[LedgerEvent]) -> list[tuple[str, str]]:
    return [(event.kind, event.model) for event in events]


@pytest.fixture
def driver() -> Driver:
    """Two thirds of the GPU preloaded; one of the other two models fits beside it."""
    driver = make_driver(
        turn=make_model(1, 600, preload=True), lazy=make_model(3, 300), side=make_model(2, 200)
    )
    driver.run()
    return driver


def test_preloaded_models_are_loaded_by_priority_and_size() -> None:
    driver = make_driver(
        small=make_model(1, 10, preload=True),
        second=make_model(2, 500, preload=True),
        large=make_model(1, 90, preload=True),
        lazy=make_model(1, 100),
    )
    loads = [event.model for event in driver.run() if event.kind == EventKind.LOAD]
    assert loads == ["large", "small", "second"]


def test_resident_model_is_granted_at_once(driver: Driver) -> None:
    assert summarize(driver.ledger.request(9, TURN, "kitchen", 0)) == [(EventKind.GRANT, TURN)]


def test_absent_model_is_loaded_and_granted(driver: Driver) -> None:
    assert summarize(driver.request(LAZY)) == [
        (EventKind.LOAD, LAZY),
        (EventKind.LOADED, LAZY),
        (EventKind.GRANT, LAZY),
    ]


def test_two_requests_for_a_model_cause_one_load(driver: Driver) -> None:
    driver.unfinished = {LAZY}
    driver.request(LAZY)
    driver.request(LAZY, "office")
    driver.unfinished = set()
    assert [kind for kind, _ in summarize(driver.run())] == [
        EventKind.LOADED,
        EventKind.GRANT,
        EventKind.GRANT,
    ]


def test_idle_model_is_evicted_for_a_more_important_one(driver: Driver) -> None:
    driver.request(LAZY)
    driver.release(1)
    events = driver.request(SIDE)
    assert (EventKind.EVICT, LAZY) in summarize(events)
    assert summarize(events)[-1] == (EventKind.GRANT, SIDE)
    assert set(driver.ledger.resident) == {TURN, SIDE}


def test_request_for_a_model_being_evicted_gets_an_answer(
    driver: Driver,
) -> None:
    driver.request(LAZY)
    driver.release(1)
    driver.unfinished = {LAZY}
    driver.request(SIDE)
    assert summarize(driver.request(LAZY)) == []
    driver.unfinished = set()
    events = driver.run()
    assert summarize(events)[-2:] == [(EventKind.GRANT, SIDE), (EventKind.REFUSE, LAZY)]
    assert events[-1].code == RefusalCode.NOT_EVICTABLE
    assert not driver.ledger.waiting


def test_refused_unload_leaves_the_ledger_unchanged(driver: Driver) -> None:
    driver.request(LAZY)
    driver.release(1)
    before = dict(driver.ledger.resident)
    driver.unfinished = {LAZY}
    driver.request(SIDE)
    driver.ledger.record_unload_refused(LAZY, driver.now_ms, "in use after all")
    assert driver.ledger.resident == before
    assert not driver.ledger.unloading


def test_awaited_model_is_closed_to_new_sessions(driver: Driver) -> None:
    driver.request(LAZY)
    assert summarize(driver.request(SIDE)) == [(EventKind.WAIT, SIDE)]
    assert summarize(driver.request(LAZY, "office")) == []
    assert summarize(driver.request(LAZY, "kitchen")) == [(EventKind.GRANT, LAZY)], (
        "the session has it already"
    )
    driver.release(1)
    assert (EventKind.GRANT, SIDE) in summarize(driver.release(4))


def test_wait_is_reported_once(driver: Driver) -> None:
    driver.request(LAZY)
    driver.request(SIDE)
    assert driver.advance(10) == []


def test_request_times_out_at_its_deadline(driver: Driver) -> None:
    driver.request(LAZY)
    driver.request(SIDE)
    driver.ledger.leases[1] = VramLease(LAZY, "kitchen", until_ms=99_999)
    assert driver.advance(9_999) == []
    assert [(event.kind, event.code) for event in driver.advance(1)] == [
        (EventKind.REFUSE, TIMED_OUT)
    ]


def test_waiting_request_is_refused_when_the_lease_is_overdue(driver: Driver) -> None:
    driver.request(LAZY)
    driver.request(SIDE)
    assert driver.advance(4_999) == []
    assert [event.code for event in driver.advance(1)] == [RefusalCode.STUCK]


def test_full_queue_refuses_with_its_code(driver: Driver) -> None:
    driver.unfinished = {LAZY}
    codes = [event.code for _ in range(5) for event in driver.request(LAZY)]
    assert codes == ["", QUEUE_FULL]


def test_failed_load_refuses_all_requests_for_the_model(driver: Driver) -> None:
    driver.unfinished = {LAZY}
    driver.request(LAZY)
    driver.request(LAZY)
    events = driver.ledger.record_load_failed(LAZY, 0, "vram_exhausted", "out of memory")
    assert [event.code for event in events] == ["vram_exhausted"] * 3
    assert LAZY not in driver.ledger.resident
    assert summarize(driver.run()) == []


def test_failed_preload_is_retried_later() -> None:
    driver = make_driver(turn=make_model(1, 600, preload=True))
    driver.unfinished = {TURN}
    driver.run()
    driver.ledger.record_load_failed(TURN, 0, "vram_exhausted", "out of memory")
    assert driver.advance(PRELOAD_RETRY_MS - 1) == []
    assert summarize(driver.advance(1)) == [(EventKind.LOAD, TURN)]


def test_critical_preload_comes_before_a_request() -> None:
    driver = make_driver(turn=make_model(1, 600, preload=True), lazy=make_model(3, 300))
    loads = [event.model for event in driver.request(LAZY) if event.kind == EventKind.LOAD]
    assert loads == [TURN, LAZY]


def test_preload_without_room_is_reported_once_and_loaded_later() -> None:
    driver = make_driver(turn=make_model(1, 600, preload=True))
    taken = MeasuredMemory(free_mib=500, other_mib=500)
    assert [(event.kind, event.code) for event in driver.run(taken)] == [
        (EventKind.REFUSE, RefusalCode.TAKEN)
    ]
    assert driver.run(taken) == []
    assert summarize(driver.run()) == [(EventKind.LOAD, TURN), (EventKind.LOADED, TURN)]


def test_unused_model_is_unloaded_unless_it_is_preloaded(driver: Driver) -> None:
    driver.request(LAZY)
    driver.advance(1_000)
    driver.release(1)
    assert driver.advance(59_999) == []
    assert summarize(driver.advance(1)) == [(EventKind.IDLE, LAZY), (EventKind.UNLOADED, LAZY)]
    assert set(driver.ledger.resident) == {TURN}


def test_memory_pressure_unloads_the_optional_model_once_released(
    driver: Driver,
) -> None:
    driver.request(LAZY)
    under_pressure = MeasuredMemory(free_mib=50, other_mib=100)
    assert driver.run(under_pressure) == []
    driver.ledger.release(1, 0)
    assert summarize(driver.run(under_pressure)) == [
        (EventKind.PRESSURE, LAZY),
        (EventKind.UNLOADED, LAZY),
    ]


def test_highest_measured_peak_is_remembered(driver: Driver) -> None:
    driver.ledger.record_measurement(TURN, held_mib=500, highest_mib=700)
    driver.ledger.record_measurement(TURN, held_mib=400, highest_mib=450)
    assert driver.ledger.charged_mib == 700
    assert driver.ledger.resident[TURN].held_mib == 400
    assert driver.ledger.reservations[TURN].reload_ms == 5, "the load time was measured too"


def test_turn_lease_lasts_longer_than_a_single_inference(driver: Driver) -> None:
    driver.ledger.request(8, TURN, "kitchen", 0, turn=True)
    driver.ledger.request(9, TURN, "kitchen", 0)
    assert driver.ledger.leases[8].until_ms == 30_000
    assert driver.ledger.leases[9].until_ms == 5_000


def test_every_event_has_a_reason(driver: Driver) -> None:
    events = [
        *driver.request(LAZY),
        *driver.request(SIDE),
        *driver.release(1),
        *driver.request(LAZY),
    ]
    without_reason = {EventKind.UNLOADED}
    assert {event.kind for event in events} & UNLOAD_KINDS
    assert all(event.why for event in events if event.kind not in without_reason)

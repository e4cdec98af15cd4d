"""Random histories of the ledger: requests, releases, measurements and failures in any order.

A simulated GPU replaces the engines. After every step the invariants of docs/reference/vram.md are
checked against the observed events, not against the ledger's own state.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from barnabee.gpu.vram.budget import CRITICAL_PRIORITY
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.queue import queue_order
from barnabee.gpu.vram.types import UNLOAD_KINDS, EventKind, LedgerEvent, MeasuredMemory
from support.vram import make_gpu, make_model, make_random

ABSENT_AFTER = frozenset({EventKind.UNLOADED, EventKind.LOAD_FAILED})
FINISHED = ABSENT_AFTER | {EventKind.LOADED, EventKind.UNLOAD_REFUSED}
ROOMS = ("kitchen", "office", "bedroom", "living-room")


class History:
    """A ledger, its simulated GPU, and the observed state of both."""

    def __init__(self, seed: int) -> None:
        random = make_random(seed)
        models = {
            name: make_model(
                random.randint(1, 3),
                random.randint(50, 450),
                preload=random.random() < 0.4,
                reload_ms=random.randint(1, 500),
            )
            for name in "abcdef"[: random.randint(2, 6)]
        }
        self.ledger = Ledger(make_gpu(), models)
        self.held = {name: random.randint(1, other.vram_peak_mib) for name, other in models.items()}
        self.highest = {name: other.vram_peak_mib for name, other in models.items()}
        self.other_mib = 0
        self.now_ms = 0
        self.tickets = 0
        self.ended: set[int] = set()  # refused or released
        self.holding: set[int] = set()
        self.resident: set[str] = set()  # from the start of a load to the end of an unload
        self.in_transition: set[str] = set()  # models that are being loaded or unloaded
        self.kinds: set[str] = set()
        self.step()

    def measured_memory(self) -> MeasuredMemory:
        used = {lease.model for lease in self.ledger.leases.values()}
        held = sum(self.highest[n] if n in used else self.held[n] for n in self.ledger.resident)
        return MeasuredMemory(self.ledger.gpu.vram_mib - held - self.other_mib, self.other_mib)

    def step(self) -> None:
        self.observe(self.ledger.step(self.now_ms, self.measured_memory()))

    def request(self, name: str, room: str, *, turn: bool) -> None:
        self.tickets += 1
        self.observe(self.ledger.request(self.tickets, name, room, self.now_ms, turn=turn))
        self.step()

    def release(self, ticket: int) -> None:
        self.holding.remove(ticket)
        self.ended.add(ticket)
        self.observe(self.ledger.release(ticket, self.now_ms))
        self.step()

    def finish(self, *, ok: bool = True) -> None:
        """Finish the current load or unloads."""
        ledger, name = self.ledger, self.ledger.loading
        if name and ok:
            self.observe(
                ledger.record_loaded(name, self.now_ms, held_mib=self.held[name], took_ms=7)
            )
        elif name:
            self.observe(
                ledger.record_load_failed(name, self.now_ms, "vram_exhausted", "out of memory")
            )
        for going in sorted(ledger.unloading):
            end = ledger.record_unloaded if ok else ledger.record_unload_refused
            self.observe(end(going, self.now_ms, **({} if ok else {"why": "refused"})))
        self.step()

    def run_out(self, name: str) -> None:
        """Run out of memory during a load or an inference of `name`."""
        if name in self.ledger.resident:
            self.observe(self.ledger.record_out_of_memory(name, self.now_ms))
            self.step()

    def request_unload(self, name: str) -> None:
        self.observe(self.ledger.request_unload(name, self.now_ms))
        self.step()

    def observe(self, events: list[LedgerEvent]) -> None:
        before = set(self.in_transition)
        for event in events:
            self.kinds.add(event.kind)
            if event.kind == EventKind.LOAD:
                assert not self.in_transition, "two transitions at a time"
                self.in_transition.add(event.model)
                self.check_load(event)
            elif event.kind in UNLOAD_KINDS:
                assert not before, "two transitions at a time"
                self.in_transition.add(event.model)
                self.check_unload(event)
            elif event.kind == EventKind.OUT_OF_MEMORY:
                assert before <= {event.model}, "two transitions at a time"
                self.resident -= before  # a load that ran out is over
                self.in_transition -= before
                before.clear()
            elif event.kind in FINISHED:
                self.in_transition.remove(event.model)
                self.resident -= {event.model} if event.kind in ABSENT_AFTER else set()
            elif event.kind == EventKind.GRANT and event.request:
                assert event.request.ticket not in self.holding | self.ended
                self.holding.add(event.request.ticket)
            elif event.kind == EventKind.REFUSE and event.request:
                assert event.request.ticket not in self.holding | self.ended
                assert event.code
                self.ended.add(event.request.ticket)

    def check_load(self, event: LedgerEvent) -> None:
        ledger = self.ledger
        assert event.model not in self.resident, "loaded twice"
        self.resident.add(event.model)
        counted = sum(
            max(ledger.models[name].vram_peak_mib, ledger.reservations[name].measured_mib)
            for name in self.resident
        )
        assert counted <= ledger.gpu.vram_mib - ledger.gpu.headroom_mib - self.other_mib
        more_important = [
            request
            for request in ledger.waiting
            if request.model not in ledger.resident
            and request.priority < ledger.models[event.model].priority
        ]
        assert not more_important, "a more important request was not loaded first"
        requests = [other for other in ledger.waiting if other.model == event.model]
        others = [other for other in ledger.waiting if other.model not in ledger.resident]
        if event.request and requests:
            assert all(queue_order(requests[0]) < queue_order(other) for other in others)

    def check_unload(self, event: LedgerEvent) -> None:
        assert event.model in self.resident
        leased = {lease.model for lease in self.ledger.leases.values()}
        assert event.model not in leased, "unloaded while in use"
        priority = self.ledger.models[event.model].priority
        if event.kind == EventKind.EVICT and event.request:
            assert priority > event.request.priority
        elif event.kind not in {EventKind.IDLE, EventKind.MANUAL}:
            assert priority > CRITICAL_PRIORITY

    def check(self) -> None:
        ledger = self.ledger
        waiting = {request.ticket for request in ledger.waiting}
        assert self.resident == set(ledger.resident), "resident models differ"
        assert self.holding == set(ledger.leases)
        assert not waiting & (self.holding | self.ended)
        assert waiting | self.holding | self.ended == set(range(1, self.tickets + 1))
        assert all(request.deadline_ms > self.now_ms for request in ledger.waiting)
        assert {lease.model for lease in ledger.leases.values()} <= self.resident - ledger.unloading
        assert len(waiting) <= ledger.gpu.queue_depth

    def settle(self) -> None:
        """Release all leases without failures: every waiting request gets an answer."""
        self.other_mib = 0
        self.step()
        for _ in range(200):
            if not self.ledger.waiting and not self.holding and not self.ledger.loading:
                break
            for ticket in sorted(self.holding):
                self.release(ticket)
            self.finish()
            self.check()
        assert not self.ledger.waiting, "a request waits although nothing is in use"

    def hang(self) -> None:
        """Release nothing and finish no load: every waiting request is refused at its deadline."""
        self.now_ms += self.ledger.gpu.wait_limit_ms
        self.step()
        self.check()
        assert not self.ledger.waiting


class LedgerMachine(RuleBasedStateMachine):
    """Histories generated by hypothesis, so that a failure shrinks to the shortest one."""

    history: History

    @initialize(seed=st.integers(0, 10_000))
    def begin(self, seed: int) -> None:
        self.history = History(seed)

    @rule(which=st.integers(0, 5), room=st.sampled_from(ROOMS), turn=st.booleans())
    def ask(self, which: int, room: str, turn: bool) -> None:
        names = sorted(self.history.ledger.models)
        self.history.request(names[which % len(names)], room, turn=turn)

    @precondition(lambda self: self.history.holding)
    @rule(which=st.integers(0, 9))
    def release(self, which: int) -> None:
        held = sorted(self.history.holding)
        self.history.release(held[which % len(held)])

    @precondition(lambda self: self.history.ledger.loading or self.history.ledger.unloading)
    @rule(ok=st.sampled_from([True, True, True, False]))
    def finish(self, ok: bool) -> None:
        self.history.finish(ok=ok)

    @rule(by_ms=st.sampled_from([1, 100, 3_000, 20_000, 70_000]))
    def time_passes(self, by_ms: int) -> None:
        self.history.now_ms += by_ms
        self.history.step()

    @rule(other_mib=st.integers(0, 500))
    def other_programs_take_memory(self, other_mib: int) -> None:
        self.history.other_mib = other_mib
        self.history.step()

    @rule(which=st.integers(0, 5), more_mib=st.integers(1, 100))
    def measured_memory_grows(self, which: int, more_mib: int) -> None:
        names = sorted(self.history.ledger.models)
        grow_model(self.history, names[which % len(names)], more_mib)

    @rule(which=st.integers(0, 5), on_request=st.booleans())
    def out_of_memory_or_unload_request(self, which: int, on_request: bool) -> None:
        names = sorted(self.history.ledger.models)
        act = self.history.request_unload if on_request else self.history.run_out
        act(names[which % len(names)])

    @invariant()
    def invariants_hold(self) -> None:
        if hasattr(self, "history"):
            self.history.check()

    def teardown(self) -> None:
        if hasattr(self, "history"):
            if self.history.tickets % 2:
                self.history.hang()
            self.history.settle()


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=100, stateful_step_count=40)


def grow_model(history: History, name: str, more_mib: int) -> None:
    history.highest[name] += more_mib
    history.ledger.record_measurement(
        name, held_mib=history.held[name], highest_mib=history.highest[name]
    )
    history.step()


def make_random_history(seed: int, steps: int) -> History:
    random = make_random(seed)
    history = History(seed)
    names = sorted(history.ledger.models)
    for _ in range(steps):
        what = random.random()
        if what < 0.35:
            history.request(random.choice(names), random.choice(ROOMS), turn=random.random() < 0.5)
        elif what < 0.6 and history.holding:
            history.release(random.choice(sorted(history.holding)))
        elif what < 0.85:
            history.finish(ok=random.random() < 0.9)
        elif what < 0.93:
            history.now_ms += random.choice([1, 100, 3_000, 20_000, 70_000])
            history.step()
        elif what < 0.97:
            history.other_mib = random.randint(0, 500)
            history.step()
        elif what < 0.98:
            history.run_out(random.choice(names))
        elif what < 0.99:
            history.request_unload(random.choice(names))
        else:
            grow_model(history, random.choice(names), random.randint(1, 100))
        history.check()
    return history


def test_random_histories_keep_all_invariants() -> None:
    kinds: set[str] = set()
    for seed in range(2_000):
        history = make_random_history(seed, steps=40)
        if seed % 2:
            history.hang()
        history.settle()
        kinds |= history.kinds
    assert set(EventKind) <= kinds, "an event kind never occurred"


def test_history_is_deterministic() -> None:
    first, second = (make_random_history(4711, steps=300) for _ in range(2))
    assert first.ledger.resident == second.ledger.resident
    assert first.ended == second.ended

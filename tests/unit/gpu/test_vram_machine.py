"""Storms on the ledger: whatever is asked, returned, measured, taken or broken, in any order.

A tiny card world stands in for the engines; after each step every promise of
`docs/reference/vram.md` is checked against what the world has seen, not against the ledger's word.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from barnabee.gpu.vram.budget import CRITICAL
from barnabee.gpu.vram.events import UNLOADING, Entry, Kind
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.queue import place
from barnabee.gpu.vram.types import Sight
from support.vram import card, model, seeded

GONE = frozenset({Kind.UNLOADED, Kind.LOAD_FAILED})
ENDS = GONE | {Kind.LOADED, Kind.KEPT}
ROOMS = ("kitchen", "office", "bedroom", "living-room")


class Storm:
    """A ledger, the card it is about, and what has been seen of both."""

    def __init__(self, seed: int) -> None:
        dice = seeded(seed)
        models = {
            name: model(
                dice.randint(1, 3),
                dice.randint(50, 450),
                preload=dice.random() < 0.4,
                reload_ms=dice.randint(1, 500),
            )
            for name in "abcdef"[: dice.randint(2, 6)]
        }
        self.ledger = Ledger(card(), models)
        self.held = {name: dice.randint(1, each.vram_peak_mib) for name, each in models.items()}
        self.highest = {name: each.vram_peak_mib for name, each in models.items()}
        self.other_mib = 0
        self.now_ms = 0
        self.tickets = 0
        self.ended: set[int] = set()  # refused or returned
        self.holding: set[int] = set()
        self.there: set[str] = set()  # by the journal: loading begun, unloading not yet done
        self.under_way: set[str] = set()  # models that are being loaded or unloaded
        self.kinds: set[str] = set()
        self.step()

    def sight(self) -> Sight:
        used = {lease.model for lease in self.ledger.leases.values()}
        held = sum(self.highest[n] if n in used else self.held[n] for n in self.ledger.resident)
        return Sight(self.ledger.card.vram_mib - held - self.other_mib, self.other_mib)

    def step(self) -> None:
        self.see(self.ledger.step(self.now_ms, self.sight()))

    def ask(self, name: str, room: str, *, turn: bool) -> None:
        self.tickets += 1
        self.see(self.ledger.ask(self.tickets, name, room, self.now_ms, turn=turn))
        self.step()

    def give_back(self, ticket: int) -> None:
        self.holding.remove(ticket)
        self.ended.add(ticket)
        self.see(self.ledger.release(ticket, self.now_ms))
        self.step()

    def finish(self, *, well: bool = True) -> None:
        """The load or the unloadings under way end, well or not."""
        ledger, name = self.ledger, self.ledger.loading
        if name and well:
            self.see(ledger.loaded(name, self.now_ms, held_mib=self.held[name], took_ms=7))
        elif name:
            self.see(ledger.load_failed(name, self.now_ms, "vram_exhausted", "out of memory"))
        for going in sorted(ledger.unloading):
            end = ledger.unloaded if well else ledger.kept
            self.see(end(going, self.now_ms, **({} if well else {"why": "refused"})))
        self.step()

    def run_out(self, name: str) -> None:
        """The library of `name` finds no memory: while it is loaded, or while it computes."""
        if name in self.ledger.resident:
            self.see(self.ledger.ran_out(name, self.now_ms))
            self.step()

    def dismiss(self, name: str) -> None:
        """Somebody wants `name` gone."""
        self.see(self.ledger.dismiss(name, self.now_ms))
        self.step()

    def see(self, entries: list[Entry]) -> None:
        before = set(self.under_way)
        for entry in entries:
            self.kinds.add(entry.kind)
            if entry.kind == Kind.LOAD:
                assert not self.under_way, "two things at a time"
                self.under_way.add(entry.model)
                self.see_load(entry)
            elif entry.kind in UNLOADING:
                assert not before, "two things at a time"
                self.under_way.add(entry.model)
                self.see_unloading(entry)
            elif entry.kind == Kind.OUT_OF_MEMORY:
                assert before <= {entry.model}, "two things at a time"
                self.there -= before  # a load that ran out is over
                self.under_way -= before
                before.clear()
            elif entry.kind in ENDS:
                self.under_way.remove(entry.model)
                self.there -= {entry.model} if entry.kind in GONE else set()
            elif entry.kind == Kind.GRANT and entry.request:
                assert entry.request.ticket not in self.holding | self.ended
                self.holding.add(entry.request.ticket)
            elif entry.kind == Kind.REFUSE and entry.request:
                assert entry.request.ticket not in self.holding | self.ended
                assert entry.code
                self.ended.add(entry.request.ticket)

    def see_load(self, entry: Entry) -> None:
        ledger = self.ledger
        assert entry.model not in self.there, "loaded twice"
        self.there.add(entry.model)
        counted = sum(
            max(ledger.models[name].vram_peak_mib, ledger.claims[name].measured_mib)
            for name in self.there
        )
        assert counted <= ledger.card.vram_mib - ledger.card.headroom_mib - self.other_mib
        urgent = [
            request
            for request in ledger.waiting
            if request.model not in ledger.resident
            and request.priority < ledger.models[entry.model].priority
        ]
        assert not urgent, "something more important waits and was not loaded first"
        mine = [each for each in ledger.waiting if each.model == entry.model]
        others = [each for each in ledger.waiting if each.model not in ledger.resident]
        if entry.request and mine:
            assert all(place(mine[0]) < place(each) for each in others)

    def see_unloading(self, entry: Entry) -> None:
        assert entry.model in self.there
        leased = {lease.model for lease in self.ledger.leases.values()}
        assert entry.model not in leased, "unloaded while in use"
        priority = self.ledger.models[entry.model].priority
        if entry.kind == Kind.EVICT and entry.request:
            assert priority > entry.request.priority
        elif entry.kind not in {Kind.IDLE, Kind.BY_HAND}:
            assert priority > CRITICAL

    def check(self) -> None:
        ledger = self.ledger
        waiting = {request.ticket for request in ledger.waiting}
        assert self.there == set(ledger.resident), "lost or invented a model"
        assert self.holding == set(ledger.leases)
        assert not waiting & (self.holding | self.ended)
        assert waiting | self.holding | self.ended == set(range(1, self.tickets + 1))
        assert all(request.deadline_ms > self.now_ms for request in ledger.waiting)
        assert {lease.model for lease in ledger.leases.values()} <= self.there - ledger.unloading
        assert len(waiting) <= ledger.card.queue_depth

    def calm(self) -> None:
        """Everybody returns everything and nothing breaks: whoever still waits gets an answer."""
        self.other_mib = 0
        self.step()
        for _ in range(200):
            if not self.ledger.waiting and not self.holding and not self.ledger.loading:
                break
            for ticket in sorted(self.holding):
                self.give_back(ticket)
            self.finish()
            self.check()
        assert not self.ledger.waiting, "a request waits for ever although nothing is in use"

    def hang(self) -> None:
        """Nobody returns anything and no load ends: whoever waits is told in time."""
        self.now_ms += self.ledger.card.wait_limit_ms
        self.step()
        self.check()
        assert not self.ledger.waiting


class LedgerMachine(RuleBasedStateMachine):
    """The storm, steered by hypothesis so that a failure shrinks to its shortest course."""

    storm: Storm

    @initialize(seed=st.integers(0, 10_000))
    def begin(self, seed: int) -> None:
        self.storm = Storm(seed)

    @rule(which=st.integers(0, 5), room=st.sampled_from(ROOMS), turn=st.booleans())
    def ask(self, which: int, room: str, turn: bool) -> None:
        names = sorted(self.storm.ledger.models)
        self.storm.ask(names[which % len(names)], room, turn=turn)

    @precondition(lambda self: self.storm.holding)
    @rule(which=st.integers(0, 9))
    def give_back(self, which: int) -> None:
        held = sorted(self.storm.holding)
        self.storm.give_back(held[which % len(held)])

    @precondition(lambda self: self.storm.ledger.loading or self.storm.ledger.unloading)
    @rule(well=st.sampled_from([True, True, True, False]))
    def finish(self, well: bool) -> None:
        self.storm.finish(well=well)

    @rule(by_ms=st.sampled_from([1, 100, 3_000, 20_000, 70_000]))
    def time_passes(self, by_ms: int) -> None:
        self.storm.now_ms += by_ms
        self.storm.step()

    @rule(other_mib=st.integers(0, 500))
    def others_take_memory(self, other_mib: int) -> None:
        self.storm.other_mib = other_mib
        self.storm.step()

    @rule(which=st.integers(0, 5), more_mib=st.integers(1, 100))
    def a_model_turns_out_to_take_more(self, which: int, more_mib: int) -> None:
        names = sorted(self.storm.ledger.models)
        grow(self.storm, names[which % len(names)], more_mib)

    @rule(which=st.integers(0, 5), by_hand=st.booleans())
    def memory_runs_out_or_somebody_unloads(self, which: int, by_hand: bool) -> None:
        names = sorted(self.storm.ledger.models)
        act = self.storm.dismiss if by_hand else self.storm.run_out
        act(names[which % len(names)])

    @invariant()
    def nothing_is_lost(self) -> None:
        if hasattr(self, "storm"):
            self.storm.check()

    def teardown(self) -> None:
        if hasattr(self, "storm"):
            if self.storm.tickets % 2:
                self.storm.hang()
            self.storm.calm()


TestLedgerMachine = LedgerMachine.TestCase
TestLedgerMachine.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)


def grow(storm: Storm, name: str, more_mib: int) -> None:
    storm.highest[name] += more_mib
    storm.ledger.measured(name, held_mib=storm.held[name], highest_mib=storm.highest[name])
    storm.step()


def random_course(seed: int, steps: int) -> Storm:
    dice = seeded(seed)
    storm = Storm(seed)
    names = sorted(storm.ledger.models)
    for _ in range(steps):
        what = dice.random()
        if what < 0.35:
            storm.ask(dice.choice(names), dice.choice(ROOMS), turn=dice.random() < 0.5)
        elif what < 0.6 and storm.holding:
            storm.give_back(dice.choice(sorted(storm.holding)))
        elif what < 0.85:
            storm.finish(well=dice.random() < 0.9)
        elif what < 0.93:
            storm.now_ms += dice.choice([1, 100, 3_000, 20_000, 70_000])
            storm.step()
        elif what < 0.97:
            storm.other_mib = dice.randint(0, 500)
            storm.step()
        elif what < 0.98:
            storm.run_out(dice.choice(names))
        elif what < 0.99:
            storm.dismiss(dice.choice(names))
        else:
            grow(storm, dice.choice(names), dice.randint(1, 100))
        storm.check()
    return storm


def test_thousands_of_random_courses_keep_every_promise() -> None:
    kinds: set[str] = set()
    for seed in range(2_000):
        storm = random_course(seed, steps=40)
        if seed % 2:
            storm.hang()
        storm.calm()
        kinds |= storm.kinds
    assert set(Kind) <= kinds, "something never happened, so it was not tested"


def test_the_same_course_is_taken_twice() -> None:
    first, second = (random_course(4711, steps=300) for _ in range(2))
    assert first.ledger.resident == second.ledger.resident
    assert first.ended == second.ended

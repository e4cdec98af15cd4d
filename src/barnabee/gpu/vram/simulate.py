"""Replays a trace against the ledger with a virtual clock: every load, eviction, wait and refusal.

What a card and its engines would do is played by `World`: loading takes `reload_cost_ms`, a model
holds its reserved memory at rest and its peak while it is used, unless the trace says otherwise. A
turn keeps every model on its path until the last of them has been used. Nothing is started, loaded
or waited for.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count

from barnabee.core.schema import System
from barnabee.gpu.vram.events import UNLOADING, Entry, Kind
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.types import Sight
from barnabee.gpu.vram.workload import Ask, Line, Measured, Others

UNLOAD_MS = 500  # how long an unloading and the wait for its memory take here


@dataclass
class Size:
    """What a model takes of the simulated card."""

    held_mib: int
    highest_mib: int
    left_mib: int = 0


class World:
    """The simulated card: what is really held, whatever the ledger believes."""

    def __init__(self, system: System) -> None:
        """Begin with an empty card and models as `system.toml` declares them."""
        self.vram_mib = system.card.vram_mib
        self.other_mib = 0
        self.sizes = {
            name: Size(model.vram_reserved_mib or model.vram_peak_mib, model.vram_peak_mib)
            for name, model in system.model.items()
        }
        self.left: set[str] = set()  # models that were unloaded and left something behind

    def sight(self, ledger: Ledger) -> Sight:
        """Return what a probe would see now; less than nothing free means that it ran out."""
        used = {lease.model for lease in ledger.leases.values()}
        held = sum(
            self.sizes[name].highest_mib if name in used else self.sizes[name].held_mib
            for name in ledger.resident
        )
        left = sum(self.sizes[name].left_mib for name in self.left - ledger.resident.keys())
        other_mib = self.other_mib + left
        return Sight(self.vram_mib - held - other_mib, other_mib)


class Simulation:
    """One replay; `ledger` and `world` may be looked at between entries."""

    def __init__(self, system: System) -> None:
        """Begin with nothing loaded; what is preloaded is loaded first."""
        self.ledger = Ledger(system.card, system.model)
        self.world = World(system)
        self._agenda: list[tuple[int, int, Callable[[int], list[Entry]]]] = []
        self._order = count()
        self._asked: dict[int, Ask] = {}
        self._open: Counter[str] = Counter()  # by turn: how many of its requests are not done
        self._done: dict[str, list[int]] = {}  # by turn: tickets that it still keeps
        self.lowest_free_mib = system.card.vram_mib

    def run(self, trace: Iterable[Line]) -> Iterator[Entry]:
        """Yield what happens, until nothing is left to happen."""
        self._wake(0)
        for line in trace:
            self._at(line.t_ms, self._event(line))
            if isinstance(line, Ask) and line.turn:
                self._open[line.turn] += 1
        while self._agenda:
            now_ms, _, action = heapq.heappop(self._agenda)
            yield from self._follow(action(now_ms))
            yield from self._follow(self.ledger.step(now_ms, self._look()))

    def _look(self) -> Sight:
        sight = self.world.sight(self.ledger)
        self.lowest_free_mib = min(self.lowest_free_mib, sight.free_mib)
        return sight

    def _wake(self, t_ms: int) -> None:
        self._at(t_ms, lambda _now_ms: [])

    def _at(self, t_ms: int, action: Callable[[int], list[Entry]]) -> None:
        heapq.heappush(self._agenda, (t_ms, next(self._order), action))

    def _event(self, line: Line) -> Callable[[int], list[Entry]]:
        if isinstance(line, Ask):
            return lambda now_ms: self._ask(line, now_ms)
        if isinstance(line, Others):
            return lambda _now_ms: self._others(line)
        return lambda _now_ms: self._measured(line)

    def _ask(self, line: Ask, now_ms: int) -> list[Entry]:
        ticket = len(self._asked)
        self._asked[ticket] = line
        self._wake(now_ms + self.ledger.card.wait_limit_ms)
        turn = line.turn is not None
        return self.ledger.ask(ticket, line.model, line.session, now_ms, turn=turn)

    def _others(self, line: Others) -> list[Entry]:
        self.world.other_mib = line.other_mib
        return []

    def _measured(self, line: Measured) -> list[Entry]:
        self.world.sizes[line.model] = Size(line.held_mib, line.highest_mib, line.left_mib)
        if line.model in self.ledger.resident and line.model != self.ledger.loading:
            self.ledger.measured(line.model, held_mib=line.held_mib, highest_mib=line.held_mib)
        return []

    def _follow(self, entries: Collection[Entry]) -> Collection[Entry]:
        """Put what entries entail on the agenda, as a manager would do it."""
        for entry in entries:
            size = self.world.sizes[entry.model]
            if entry.kind == Kind.LOAD:
                self._finish_loading(entry)
            elif entry.kind in UNLOADING:
                self._finish_unloading(entry)
            elif entry.kind == Kind.GRANT and entry.request is not None:
                self.ledger.measured(
                    entry.model, held_mib=size.held_mib, highest_mib=size.highest_mib
                )
                self._finish_using(entry.t_ms, entry.request.ticket)
            elif entry.kind == Kind.REFUSE and entry.request is not None:
                self._settle(self._asked[entry.request.ticket], entry.t_ms)
        return entries

    def _finish_loading(self, entry: Entry) -> None:
        name, took_ms = entry.model, self.ledger.models[entry.model].reload_cost_ms
        size = self.world.sizes[name]
        self._at(
            entry.t_ms + took_ms,
            lambda now_ms: self.ledger.loaded(
                name, now_ms, held_mib=size.held_mib, took_ms=took_ms
            ),
        )
        self._may_idle(entry.t_ms + took_ms)

    def _finish_unloading(self, entry: Entry) -> None:
        def done(now_ms: int) -> list[Entry]:
            self.world.left.add(entry.model)
            left_mib = self.world.sizes[entry.model].left_mib
            return self.ledger.unloaded(entry.model, now_ms, left_mib=left_mib)

        self._at(entry.t_ms + UNLOAD_MS, done)

    def _finish_using(self, since_ms: int, ticket: int) -> None:
        def done(now_ms: int) -> list[Entry]:
            line = self._asked[ticket]
            if line.turn is None:
                self._may_idle(now_ms)
                return self.ledger.release(ticket, now_ms)
            self._done.setdefault(line.turn, []).append(ticket)
            self._settle(line, now_ms)
            return []

        self._at(since_ms + self._asked[ticket].hold_ms, done)

    def _settle(self, line: Ask, now_ms: int) -> None:
        """One request of a turn is done; with the last one, give back all that the turn keeps."""
        if line.turn is None:
            return
        self._open[line.turn] -= 1
        if self._open[line.turn] == 0:
            for ticket in self._done.pop(line.turn, []):
                self._at(now_ms, partial(self.ledger.release, ticket))
            self._may_idle(now_ms)

    def _may_idle(self, since_ms: int) -> None:
        self._wake(since_ms + self.ledger.card.idle_unload_s * 1000)


@dataclass(frozen=True)
class Summary:
    """What a replay came to; a turn is answered when it got every model it asked for."""

    requests: int
    granted: int
    refused: dict[str, int]  # by code
    loads: int
    unloads: dict[str, int]  # by kind
    longest_wait_ms: int
    turns: int
    answered: int
    highest_charged_mib: int
    lowest_free_mib: int  # of the simulated card; below 0 it ran out, whatever the ledger believed


def replay(system: System, trace: Collection[Line]) -> tuple[list[Entry], Summary]:
    """Return everything that happens, and its figures."""
    simulation = Simulation(system)
    entries = list(simulation.run(trace))
    return entries, _summary(trace, entries, simulation.lowest_free_mib)


def _summary(trace: Iterable[Line], entries: Collection[Entry], lowest_free_mib: int) -> Summary:
    kinds = Counter(entry.kind for entry in entries)
    granted = [entry for entry in entries if entry.kind == Kind.GRANT and entry.request]
    refused = [entry for entry in entries if entry.kind == Kind.REFUSE and entry.request]
    asked = sorted((line for line in trace if isinstance(line, Ask)), key=lambda line: line.t_ms)
    failed = {asked[entry.request.ticket].turn for entry in refused if entry.request}
    turns = {line.turn for line in asked} - {None}
    waits = (entry.t_ms - entry.request.asked_ms for entry in granted if entry.request)
    return Summary(
        requests=len(asked),
        granted=len(granted),
        refused=dict(Counter(entry.code for entry in refused)),
        loads=kinds[Kind.LOAD],
        unloads={str(kind): kinds[kind] for kind in sorted(UNLOADING) if kinds[kind]},
        longest_wait_ms=max(waits, default=0),
        turns=len(turns),
        answered=len(turns - failed),
        highest_charged_mib=max((entry.charged_mib for entry in entries), default=0),
        lowest_free_mib=lowest_free_mib,
    )

"""Simulation of a request trace against the VRAM ledger: virtual clock, simulated GPU.

A trace has one JSON object per line; `tests/data/evening.jsonl` is a synthetic one: four
rooms, 310 turns in two hours, Whisper forced for all rooms twice, other programs that take memory
three times, models that take more than declared. A load takes `reload_cost_ms`; a model holds its
reserved memory at rest and its peak while it is leased, unless the trace says otherwise. A turn
holds all its models until the last of its requests has ended.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path
from typing import Literal

from pydantic import TypeAdapter

from barnabee.core.schema import System
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.types import UNLOAD_KINDS, EventKind, LedgerEvent, MeasuredMemory

UNLOAD_MS = 500  # duration of an unload until its memory is free


@dataclass(frozen=True, kw_only=True)
class RequestEvent:
    """Request for a model, used for `hold_ms`; requests with the same `turn` are one turn."""

    t_ms: int
    model: str
    hold_ms: int
    session: str
    turn: str | None = None
    event: Literal["ask"] = "ask"


@dataclass(frozen=True, kw_only=True)
class OtherProgramsEvent:
    """Memory held by other programs from now on."""

    t_ms: int
    other_mib: int
    event: Literal["others"] = "others"


@dataclass(frozen=True, kw_only=True)
class MeasurementEvent:
    """Memory of a model from now on: at rest, at its peak, and not freed by an unload."""

    t_ms: int
    model: str
    held_mib: int
    highest_mib: int
    left_mib: int = 0
    event: Literal["measured"] = "measured"


TraceEvent = RequestEvent | OtherProgramsEvent | MeasurementEvent


def read_trace(file: Path) -> list[TraceEvent]:
    """Return the events by time."""
    parse = TypeAdapter[TraceEvent](TraceEvent).validate_json
    events = [parse(line) for line in file.read_text(encoding="utf-8").splitlines()]
    return sorted(events, key=lambda event: event.t_ms)


@dataclass
class ModelFootprint:
    """Memory of a model on the simulated GPU: at rest, at its peak, and not freed by an unload."""

    held_mib: int
    highest_mib: int
    left_mib: int = 0


class SimulatedGpu:
    """Actual memory use of the simulated GPU, independent of the ledger."""

    def __init__(self, system: System) -> None:
        self.vram_mib = system.gpu.vram_mib
        self.other_mib = 0
        self.footprints = {
            name: ModelFootprint(
                model.vram_reserved_mib or model.vram_peak_mib, model.vram_peak_mib
            )
            for name, model in system.model.items()
        }
        self.unreclaimed_models: set[str] = set()  # unloaded at least once

    def measured_memory(self, ledger: Ledger) -> MeasuredMemory:
        """Return the current measurement; negative free memory means out of memory."""
        used = {lease.model for lease in ledger.leases.values()}
        held = sum(
            self.footprints[name].highest_mib if name in used else self.footprints[name].held_mib
            for name in ledger.resident
        )
        left = sum(
            self.footprints[name].left_mib
            for name in self.unreclaimed_models - ledger.resident.keys()
        )
        other_mib = self.other_mib + left
        return MeasuredMemory(self.vram_mib - held - other_mib, other_mib)


class Simulation:
    """One replay; `ledger` and `gpu` may be read between events."""

    def __init__(self, system: System) -> None:
        self.ledger = Ledger(system.gpu, system.model)
        self.gpu = SimulatedGpu(system)
        self._agenda: list[tuple[int, int, Callable[[int], list[LedgerEvent]]]] = []
        self._order = count()
        self._requests: dict[int, RequestEvent] = {}
        self._open_requests: Counter[str] = Counter()  # unfinished requests by turn
        self._held_tickets: dict[str, list[int]] = {}  # by turn
        self.lowest_free_mib = system.gpu.vram_mib

    def run(self, trace: Iterable[TraceEvent]) -> Iterator[LedgerEvent]:
        """Yield all events until the agenda is empty."""
        self._schedule_step(0)
        for event in trace:
            self._schedule(event.t_ms, self._make_action(event))
            if isinstance(event, RequestEvent) and event.turn:
                self._open_requests[event.turn] += 1
        while self._agenda:
            now_ms, _, action = heapq.heappop(self._agenda)
            yield from self._carry_out(action(now_ms))
            yield from self._carry_out(self.ledger.step(now_ms, self._read_memory()))

    def _read_memory(self) -> MeasuredMemory:
        memory = self.gpu.measured_memory(self.ledger)
        self.lowest_free_mib = min(self.lowest_free_mib, memory.free_mib)
        return memory

    def _schedule_step(self, t_ms: int) -> None:
        self._schedule(t_ms, lambda _now_ms: [])

    def _schedule(self, t_ms: int, action: Callable[[int], list[LedgerEvent]]) -> None:
        heapq.heappush(self._agenda, (t_ms, next(self._order), action))

    def _make_action(self, event: TraceEvent) -> Callable[[int], list[LedgerEvent]]:
        if isinstance(event, RequestEvent):
            return lambda now_ms: self._request(event, now_ms)
        if isinstance(event, OtherProgramsEvent):
            return lambda _now_ms: self._set_other_programs(event)
        return lambda _now_ms: self._set_footprint(event)

    def _request(self, request: RequestEvent, now_ms: int) -> list[LedgerEvent]:
        ticket = len(self._requests)
        self._requests[ticket] = request
        self._schedule_step(now_ms + self.ledger.gpu.wait_limit_ms)
        turn = request.turn is not None
        return self.ledger.request(ticket, request.model, request.session, now_ms, turn=turn)

    def _set_other_programs(self, event: OtherProgramsEvent) -> list[LedgerEvent]:
        self.gpu.other_mib = event.other_mib
        return []

    def _set_footprint(self, event: MeasurementEvent) -> list[LedgerEvent]:
        self.gpu.footprints[event.model] = ModelFootprint(
            event.held_mib, event.highest_mib, event.left_mib
        )
        if event.model in self.ledger.resident and event.model != self.ledger.loading:
            self.ledger.record_measurement(
                event.model, held_mib=event.held_mib, highest_mib=event.held_mib
            )
        return []

    def _carry_out(self, events: Collection[LedgerEvent]) -> Collection[LedgerEvent]:
        """Schedule the effects of events as the manager would."""
        for event in events:
            footprint = self.gpu.footprints[event.model]
            if event.kind == EventKind.LOAD:
                self._finish_loading(event)
            elif event.kind in UNLOAD_KINDS:
                self._finish_unloading(event)
            elif event.kind == EventKind.GRANT and event.request is not None:
                self.ledger.record_measurement(
                    event.model, held_mib=footprint.held_mib, highest_mib=footprint.highest_mib
                )
                self._finish_using(event.t_ms, event.request.ticket)
            elif event.kind == EventKind.REFUSE and event.request is not None:
                self._finish_turn_request(self._requests[event.request.ticket], event.t_ms)
        return events

    def _finish_loading(self, event: LedgerEvent) -> None:
        name, took_ms = event.model, self.ledger.models[event.model].reload_cost_ms
        footprint = self.gpu.footprints[name]
        self._schedule(
            event.t_ms + took_ms,
            lambda now_ms: self.ledger.record_loaded(
                name, now_ms, held_mib=footprint.held_mib, took_ms=took_ms
            ),
        )
        self._schedule_idle_check(event.t_ms + took_ms)

    def _finish_unloading(self, event: LedgerEvent) -> None:
        def finish(now_ms: int) -> list[LedgerEvent]:
            self.gpu.unreclaimed_models.add(event.model)
            left_mib = self.gpu.footprints[event.model].left_mib
            return self.ledger.record_unloaded(event.model, now_ms, left_mib=left_mib)

        self._schedule(event.t_ms + UNLOAD_MS, finish)

    def _finish_using(self, since_ms: int, ticket: int) -> None:
        def finish(now_ms: int) -> list[LedgerEvent]:
            request = self._requests[ticket]
            if request.turn is None:
                self._schedule_idle_check(now_ms)
                return self.ledger.release(ticket, now_ms)
            self._held_tickets.setdefault(request.turn, []).append(ticket)
            self._finish_turn_request(request, now_ms)
            return []

        self._schedule(since_ms + self._requests[ticket].hold_ms, finish)

    def _finish_turn_request(self, request: RequestEvent, now_ms: int) -> None:
        """Count a finished request of a turn; the last one releases all leases of the turn."""
        if request.turn is None:
            return
        self._open_requests[request.turn] -= 1
        if self._open_requests[request.turn] == 0:
            for ticket in self._held_tickets.pop(request.turn, []):
                self._schedule(now_ms, partial(self.ledger.release, ticket))
            self._schedule_idle_check(now_ms)

    def _schedule_idle_check(self, since_ms: int) -> None:
        self._schedule_step(since_ms + self.ledger.gpu.idle_unload_s * 1000)


@dataclass(frozen=True)
class ReplaySummary:
    """Statistics of a replay; a turn is answered when all its requests were granted."""

    requests: int
    granted: int
    refused: dict[str, int]  # by code
    loads: int
    unloads: dict[str, int]  # by kind
    longest_wait_ms: int
    turns: int
    answered: int
    highest_charged_mib: int
    lowest_free_mib: int  # of the simulated GPU; negative means out of memory


def replay_trace(
    system: System, trace: Collection[TraceEvent]
) -> tuple[list[LedgerEvent], ReplaySummary]:
    """Return all events and their statistics."""
    simulation = Simulation(system)
    events = list(simulation.run(trace))
    return events, _summary(trace, events, simulation.lowest_free_mib)


def _summary(
    trace: Iterable[TraceEvent], events: Collection[LedgerEvent], lowest_free_mib: int
) -> ReplaySummary:
    kinds = Counter(event.kind for event in events)
    granted = [event for event in events if event.kind == EventKind.GRANT and event.request]
    refused = [event for event in events if event.kind == EventKind.REFUSE and event.request]
    requests = sorted(
        (request for request in trace if isinstance(request, RequestEvent)),
        key=lambda request: request.t_ms,
    )
    failed = {requests[event.request.ticket].turn for event in refused if event.request}
    turns = {request.turn for request in requests} - {None}
    waits = (event.t_ms - event.request.asked_ms for event in granted if event.request)
    return ReplaySummary(
        requests=len(requests),
        granted=len(granted),
        refused=dict(Counter(event.code for event in refused)),
        loads=kinds[EventKind.LOAD],
        unloads={str(kind): kinds[kind] for kind in sorted(UNLOAD_KINDS) if kinds[kind]},
        longest_wait_ms=max(waits, default=0),
        turns=len(turns),
        answered=len(turns - failed),
        highest_charged_mib=max((event.charged_mib for event in events), default=0),
        lowest_free_mib=lowest_free_mib,
    )

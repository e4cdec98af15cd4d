"""VRAM ledger with replayed traces: turns are answered, no leased model is unloaded."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabee.core import system
from barnabee.gpu.vram.types import UNLOAD_KINDS, EventKind, LedgerEvent
from support.vram_simulation import (
    UNLOAD_MS,
    MeasurementEvent,
    OtherProgramsEvent,
    ReplaySummary,
    RequestEvent,
    Simulation,
    TraceEvent,
    read_trace,
    replay_trace,
)

GRAPH = system.load_system()
EVENING = read_trace(Path(__file__).parents[2] / "data/evening.jsonl")


@pytest.fixture(scope="module")
def replayed() -> tuple[list[LedgerEvent], ReplaySummary]:
    return replay_trace(GRAPH, EVENING)


def make_request(
    t_ms: int, model: str, hold_ms: int = 1000, turn: str | None = None
) -> RequestEvent:
    return RequestEvent(t_ms=t_ms, model=model, hold_ms=hold_ms, session="kitchen", turn=turn)


def unloaded_while_held(events: Collection[LedgerEvent]) -> list[LedgerEvent]:
    held: list[str] = []
    wrong = []
    for event in events:
        if event.kind == EventKind.GRANT:
            held.append(event.model)
        elif event.kind == EventKind.RELEASE:
            held.remove(event.model)
        elif event.kind in UNLOAD_KINDS and event.model in held:
            wrong.append(event)
    return wrong


def test_evening_trace_has_its_intended_load() -> None:
    turns = [line for line in EVENING if isinstance(line, RequestEvent) and line.turn]
    assert len({line.session for line in turns}) == 4
    whisper = {line.turn for line in turns if line.model == "whisper"}
    assert len(whisper) == 8, "all four rooms, twice"
    assert any(isinstance(line, OtherProgramsEvent) and line.other_mib > 5000 for line in EVENING)
    assert any(isinstance(line, MeasurementEvent) for line in EVENING)


def test_every_turn_of_the_evening_is_answered(
    replayed: tuple[list[LedgerEvent], ReplaySummary],
) -> None:
    events, summary = replayed
    assert (summary.turns, summary.answered) == (310, 310)
    assert unloaded_while_held(events) == []
    assert summary.unloads == {"idle": 1, "pressure": 1}
    assert summary.lowest_free_mib >= 0, "the simulated GPU ran out of memory"
    assert summary.highest_charged_mib <= GRAPH.gpu.vram_mib - GRAPH.gpu.headroom_mib


def test_whisper_is_unloaded_only_after_the_last_lease(
    replayed: tuple[list[LedgerEvent], ReplaySummary],
) -> None:
    events, _ = replayed
    pressure = next(event for event in events if event.kind == EventKind.PRESSURE)
    kinds = [
        event.kind
        for event in events
        if event.model == "whisper"
        and event.t_ms <= pressure.t_ms
        and event.kind != EventKind.REFUSE
    ]
    assert kinds[-2:] == [EventKind.RELEASE, EventKind.PRESSURE]
    assert kinds.count(EventKind.GRANT) == kinds.count(EventKind.RELEASE) == 4


def test_turn_holds_all_its_models_until_it_ends() -> None:
    trace = [
        make_request(60_000, "parakeet", 10, "t"),
        make_request(60_000, "kokoro", 5_000, "t"),
        make_request(60_000, "embeddings", 10),
    ]
    events, _ = replay_trace(GRAPH, trace)
    ends = {event.model: event.t_ms for event in events if event.kind == EventKind.RELEASE}
    assert ends == {"parakeet": 65_000, "kokoro": 65_000, "embeddings": 60_010}


def test_unreclaimed_memory_does_not_block_its_own_model() -> None:
    trace: list[TraceEvent] = [
        MeasurementEvent(t_ms=0, model="whisper", held_mib=4000, highest_mib=5000, left_mib=900),
        make_request(60_000, "whisper"),
        make_request(3_600_000, "whisper"),
    ]
    simulation = Simulation(GRAPH)
    free = {
        event.kind: simulation.gpu.measured_memory(simulation.ledger)
        for event in simulation.run(trace)
        if event.model == "whisper"
    }
    assert free[EventKind.UNLOADED].other_mib == 900
    assert free[EventKind.GRANT].other_mib == 0
    events, summary = replay_trace(GRAPH, trace)
    assert (summary.granted, summary.refused) == (2, {})
    idle, gone = (
        next(event.t_ms for event in events if event.kind == kind)
        for kind in (EventKind.IDLE, EventKind.UNLOADED)
    )
    assert gone - idle == UNLOAD_MS


def test_replay_is_deterministic(
    replayed: tuple[list[LedgerEvent], ReplaySummary],
) -> None:
    assert replay_trace(GRAPH, EVENING) == replayed


TRACES = st.lists(
    st.one_of(
        st.builds(
            make_request,
            st.integers(0, 200_000),
            st.sampled_from(sorted(GRAPH.model)),
            st.sampled_from([0, 300, 4_000, 90_000, 300_000]),
            st.one_of(st.none(), st.sampled_from(["t1", "t2", "t3"])),
        ),
        st.builds(
            OtherProgramsEvent,
            t_ms=st.integers(0, 200_000),
            other_mib=st.integers(0, 9_000),
        ),
    ),
    max_size=30,
)


@settings(max_examples=150)
@given(TRACES)
def test_every_request_of_any_trace_is_granted_or_refused(
    trace: list[TraceEvent],
) -> None:
    events, summary = replay_trace(GRAPH, trace)
    asked = [line for line in trace if isinstance(line, RequestEvent)]
    answers = [e for e in events if e.request and e.kind in {EventKind.GRANT, EventKind.REFUSE}]
    assert sorted(e.request.ticket for e in answers if e.request) == list(range(len(asked)))
    assert all(event.code for event in events if event.kind == EventKind.REFUSE)
    assert summary.granted + sum(summary.refused.values()) == len(asked)
    assert summary.longest_wait_ms <= GRAPH.gpu.wait_limit_ms
    assert unloaded_while_held(events) == []

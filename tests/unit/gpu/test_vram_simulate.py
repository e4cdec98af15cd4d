"""Replaying an evening: every turn is answered, none loses a model while somebody talks."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barnabee.core import system
from barnabee.core.errors import BadInput
from barnabee.gpu.vram.events import UNLOADING, Entry, Kind
from barnabee.gpu.vram.simulate import UNLOAD_MS, Simulation, Summary, replay
from barnabee.gpu.vram.workload import Ask, Line, Measured, Others, read

GRAPH = system.load()
EVENING = read(
    (Path(__file__).parents[2] / "data/evening.jsonl").read_text(encoding="utf-8").splitlines(),
    GRAPH.model,
)


@pytest.fixture(scope="module")
def told() -> tuple[list[Entry], Summary]:
    return replay(GRAPH, EVENING)


def ask(t_ms: int, model: str, hold_ms: int = 1000, turn: str | None = None) -> Ask:
    return Ask(t_ms=t_ms, model=model, hold_ms=hold_ms, session="kitchen", turn=turn)


def unloaded_while_held(entries: Collection[Entry]) -> list[Entry]:
    held: list[str] = []
    wrong = []
    for entry in entries:
        if entry.kind == Kind.GRANT:
            held.append(entry.model)
        elif entry.kind == Kind.RELEASE:
            held.remove(entry.model)
        elif entry.kind in UNLOADING and entry.model in held:
            wrong.append(entry)
    return wrong


def test_the_evening_is_what_it_is_meant_to_be() -> None:
    turns = [line for line in EVENING if isinstance(line, Ask) and line.turn]
    assert len({line.session for line in turns}) == 4
    whisper = {line.turn for line in turns if line.model == "whisper"}
    assert len(whisper) == 8, "all four rooms, twice"
    assert any(isinstance(line, Others) and line.other_mib > 5000 for line in EVENING)
    assert any(isinstance(line, Measured) for line in EVENING)


def test_every_turn_of_the_evening_is_answered_and_none_loses_a_model(
    told: tuple[list[Entry], Summary],
) -> None:
    entries, summary = told
    assert (summary.turns, summary.answered) == (310, 310)
    assert unloaded_while_held(entries) == []
    assert summary.unloads == {"idle": 1, "pressure": 1}
    assert summary.lowest_free_mib >= 0, "the simulated card ran out of memory"
    assert summary.highest_charged_mib <= GRAPH.card.vram_mib - GRAPH.card.headroom_mib


def test_whisper_goes_only_after_the_last_room_has_its_answer(
    told: tuple[list[Entry], Summary],
) -> None:
    entries, _ = told
    pressure = next(entry for entry in entries if entry.kind == Kind.PRESSURE)
    kinds = [
        entry.kind
        for entry in entries
        if entry.model == "whisper" and entry.t_ms <= pressure.t_ms and entry.kind != Kind.REFUSE
    ]
    assert kinds[-2:] == [Kind.RELEASE, Kind.PRESSURE]
    assert kinds.count(Kind.GRANT) == kinds.count(Kind.RELEASE) == 4


def test_a_turn_keeps_its_whole_path_until_it_is_over() -> None:
    trace = [
        ask(60_000, "parakeet", 10, "t"),
        ask(60_000, "kokoro", 5_000, "t"),
        ask(60_000, "embeddings", 10),
    ]
    entries, _ = replay(GRAPH, trace)
    ends = {entry.model: entry.t_ms for entry in entries if entry.kind == Kind.RELEASE}
    assert ends == {"parakeet": 65_000, "kokoro": 65_000, "embeddings": 60_010}


def test_memory_that_stays_behind_is_counted_and_does_not_lock_its_own_model_out() -> None:
    trace: list[Line] = [
        Measured(
            t_ms=0, event="measured", model="whisper", held_mib=4000, highest_mib=5000, left_mib=900
        ),
        ask(60_000, "whisper"),
        ask(3_600_000, "whisper"),
    ]
    simulation = Simulation(GRAPH)
    free = {
        entry.kind: simulation.world.sight(simulation.ledger)
        for entry in simulation.run(trace)
        if entry.model == "whisper"
    }
    assert free[Kind.UNLOADED].other_mib == 900
    assert free[Kind.GRANT].other_mib == 0
    entries, summary = replay(GRAPH, trace)
    assert (summary.granted, summary.refused) == (2, {})
    idle, gone = (
        next(entry.t_ms for entry in entries if entry.kind == kind)
        for kind in (Kind.IDLE, Kind.UNLOADED)
    )
    assert gone - idle == UNLOAD_MS


def test_the_same_evening_goes_the_same_way_twice(told: tuple[list[Entry], Summary]) -> None:
    assert replay(GRAPH, EVENING) == told


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("{", "line 2 is not JSON"),
        ("[1]", "line 2 is none of ask, others, measured"),
        ('{"event": "dance", "t_ms": 1}', "line 2 is none of"),
        ('{"t_ms": 1, "model": "kokoro", "session": "x"}', "line 2: hold_ms: Field required"),
        ('{"t_ms": -1, "model": "kokoro", "hold_ms": 1, "session": "x"}', "line 2: t_ms"),
        ('{"t_ms": 1, "model": "ghost", "hold_ms": 1, "session": "x"}', "no model 'ghost'"),
        ('{"t_ms": 1, "event": "others", "other_mib": "9"}', "line 2: other_mib"),
    ],
)
def test_a_line_that_is_not_usable_is_named(line: str, says: str) -> None:
    good = '{"t_ms": 1, "model": "kokoro", "hold_ms": 1, "session": "x"}'
    with pytest.raises(BadInput, match=says):
        read([good, line, ""], GRAPH.model)


TRACES = st.lists(
    st.one_of(
        st.builds(
            ask,
            st.integers(0, 200_000),
            st.sampled_from(sorted(GRAPH.model)),
            st.sampled_from([0, 300, 4_000, 90_000, 300_000]),
            st.one_of(st.none(), st.sampled_from(["t1", "t2", "t3"])),
        ),
        st.builds(
            Others,
            t_ms=st.integers(0, 200_000),
            event=st.just("others"),
            other_mib=st.integers(0, 9_000),
        ),
    ),
    max_size=30,
)


@settings(max_examples=150, deadline=None)
@given(TRACES)
def test_in_any_trace_every_request_is_granted_or_refused_with_a_code(trace: list[Line]) -> None:
    entries, summary = replay(GRAPH, trace)
    asked = [line for line in trace if isinstance(line, Ask)]
    answers = [e for e in entries if e.request and e.kind in {Kind.GRANT, Kind.REFUSE}]
    assert sorted(e.request.ticket for e in answers if e.request) == list(range(len(asked)))
    assert all(entry.code for entry in entries if entry.kind == Kind.REFUSE)
    assert summary.granted + sum(summary.refused.values()) == len(asked)
    assert summary.longest_wait_ms <= GRAPH.card.wait_limit_ms
    assert unloaded_while_held(entries) == []
    assert json.dumps(summary.refused)

"""The system file: the shipped one is valid, and every problem names its key and remedy."""

from __future__ import annotations

import copy
import tomllib
from pathlib import Path
from typing import Any

import pytest
import tomli_w
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core import graph, system
from barnabee.core.errors import SystemFileInvalid

ROOT = Path(__file__).resolve().parents[3]
SHIPPED = (ROOT / "system.toml").read_text(encoding="utf-8")


def changed(path: str, value: object) -> str:
    data: dict[str, Any] = copy.deepcopy(tomllib.loads(SHIPPED))
    table = data
    *parents, last = path.split(".")
    for parent in parents:
        table = table.setdefault(parent, {})
    if value is None:
        del table[last]
    else:
        table[last] = value
    return tomli_w.dumps(data)


def make_llm(priority: int = 9, *, preload: bool = False) -> dict[str, Any]:
    """Return a language model that takes 1 MiB more than the preloaded models leave."""
    model = tomllib.loads(SHIPPED)["model"]["whisper"]
    changes = {"task": "llm", "engine": "llama-server", "vram_peak_mib": 5633}
    return model | changes | {"priority": priority, "preload": preload}


def make_routine(sentence: str, service: str = "light.turn_on") -> dict[str, Any]:
    return {"sentences": [sentence], "actions": [{"service": service}]}


def remedies(text: str) -> dict[str, str]:
    result = system.parse_system(text)
    assert isinstance(result, list), "the file was accepted"
    return {problem.key: problem.remedy for problem in result}


def test_the_shipped_file_is_valid() -> None:
    assert isinstance(system.parse_system(SHIPPED), system.System)


@pytest.mark.parametrize(
    ("path", "value", "key", "says"),
    [
        ("recording.room", ["kitchen"], "recording.room", "is not a known key"),
        ("recording.rooms", ["The Kitchen"], "recording.rooms.0", "match pattern"),
        ("recording.enabled", True, "recording.rooms", "nothing is recorded"),
        ("routine.a", make_routine("go [on"), "routine.a.sentences", "without its counterpart"),
        ("routine.a", make_routine("go (on|)"), "routine.a.sentences", "a choice without words"),
        ("routine.a", make_routine("go {on}"), "routine.a.sentences.0", "match pattern"),
        ("routine.a", {**make_routine("go"), "actions": []}, "routine.a.actions", "at least 1"),
        ("routine.a", make_routine("go", service="on"), "routine.a.actions.0.service", "pattern"),
        ("probe.every_s", -1, "probe.every_s", "greater than or equal to 0"),
        ("service.api.prt", 1, "service.api.prt", "is not a known key"),
        ("service.api.port", "8000", "service.api.port", "valid integer"),
        ("service.api.port", 70_000, "service.api.port", "less than or equal to 65535"),
        ("service.api.port", 6379, "service.api.port", "is the port of service.redis"),
        ("service.api.summary", None, "service.api.summary", "is missing"),
        ("service.api.needs", ["ghost"], "service.api.needs", "no service or companion 'ghost'"),
        ("service.api.wants", ["restore"], "service.api.wants", "in needs too"),
        ("service.redis.needs", ["worker"], "service.redis.needs", "is a cycle"),
        ("service.api.needs", ["s3"], "service.api.needs", "only exists locally"),
        ("service.restore.probe", "http", "service.restore.probe", "is for a oneshot"),
        ("gpu.vram_mib", 8192, "model", "lower a vram_peak_mib"),
        ("model.llm", make_llm(), "model.llm.vram_peak_mib", "leave 5632 MiB of RTX"),
        ("model.llm", make_llm(priority=3), "model.llm.priority", "set it above 3"),
        ("model.llm", make_llm(preload=True), "model.llm.preload", "on request"),
        ("llm.provider", "bard", "llm.provider", "'none', 'gpu', 'openai' or 'azure'"),
        ("llm.url", "localhost:8003", "llm.url", "pattern"),
        ("llm.send", ["secrets"], "llm.send.0", "'history'"),
        ("model.kokoro.vram_peak_mib", 1, "model.kokoro.vram_peak_mib", "below vram_reserved_mib"),
        ("model.whisper.vram_peak_mib", 0, "model.whisper.vram_peak_mib", "set the peak"),
        ("model.whisper.vram_reserved_mib", 9, "model.whisper.vram_reserved_mib", "set it to 0"),
        ("model.kokoro.reload_cost_ms", None, "model.kokoro.reload_cost_ms", "is missing"),
        ("model.kokoro.reload_cost_ms", 15_000, "model.kokoro.reload_cost_ms", "raise that limit"),
        ("model.kokoro.lease_limit_ms", 120_001, "model.kokoro.lease_limit_ms", "lower it"),
        ("gpu.headroom_mib", 16_384, "gpu.headroom_mib", "leaves no memory"),
        ("gpu.queue_depth", 0, "gpu.queue_depth", "greater than or equal to 1"),
        ("gpu.idle_unload_s", 0, "gpu.idle_unload_s", "greater than or equal to 1"),
        ("voice.blend.am_michael", 10, "voice.blend", "make them add up to 100"),
        ("intent.ask_permille", 999, "intent.ask_permille", "above accept_permille"),
        ("retention.turns_days", 0, "retention.turns_days", "greater than or equal to 1"),
        ("schema", 2, "schema", "should be 1"),
        ("talk.media_port_last", 10_003, "talk.media_port_last", "fewer ports than rooms_max"),
        ("service.voice.port", 10_050, "talk.media_port_first", "port of voice is in this range"),
        ("talk.wait_ms", 150, "talk.wait_ms", "is below whole_ms"),
        ("talk.hint_ms", 400, "talk.hint_ms", "is not below barge_in_ms"),
    ],
)
def test_a_problem_is_reported_with_its_key_and_remedy(
    path: str, value: object, key: str, says: str
) -> None:
    problems = remedies(changed(path, value))
    assert key in problems, problems
    assert says in problems[key]


def test_several_problems_are_reported_at_once() -> None:
    text = changed("service.api.prt", 1).replace('role = "gpu"', 'role = "toaster"')
    assert {"service.api.prt", "service.gpu.role"} <= remedies(text).keys()


def test_a_sentence_of_two_routines_is_a_problem() -> None:
    routines = {"a": make_routine("go on"), "b": make_routine("Go on")}
    assert "routine.a.sentences" in remedies(changed("routine", routines))["routine.b.sentences"]


def test_a_syntax_error_names_the_line() -> None:
    assert "line 2" in remedies("schema = 1\nservice = ?\n")["syntax"]


def test_an_unreadable_file_is_reported_with_the_variable_to_set(tmp_path: Path) -> None:
    with pytest.raises(SystemFileInvalid, match="set BARNABEE_SYSTEM"):
        system.load_system(tmp_path / "none.toml")


def test_the_vram_totals_are_those_of_the_specification() -> None:
    loaded = system.parse_system(SHIPPED)
    assert isinstance(loaded, system.System)
    gib = {name: round(mib / 1024, 1) for name, mib in graph.compute_vram_totals(loaded).items()}
    assert gib == {
        "normal_reserved_mib": 6.8,
        "normal_peak_mib": 9.5,
        "fallback_reserved_mib": 11.8,
        "fallback_peak_mib": 14.5,
    }


@given(st.text(max_size=200))
def test_random_text_is_refused_with_problems(text: str) -> None:
    assert isinstance(system.parse_system(text), list)


KEYS = st.sampled_from(
    ["service.api.port", "service.gpu.needs", "gpu.vram_mib", "voice", "schema", "model.kokoro"]
)
VALUES = st.one_of(
    st.integers(), st.text(max_size=5), st.booleans(), st.lists(st.text(max_size=5), max_size=3)
)


@given(KEYS, VALUES)
def test_any_value_is_accepted_or_refused_with_a_remedy(path: str, value: object) -> None:
    result = system.parse_system(changed(path, value))
    if isinstance(result, list):
        assert result
        assert all(problem.key and problem.remedy for problem in result)


NODES = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=20)


@given(NODES)
def test_start_order_puts_needs_first_or_finds_the_cycle(edges: list[tuple[int, int]]) -> None:
    data = tomllib.loads(SHIPPED)
    redis = data["service"]["redis"]
    data["service"] = {
        f"s{n}": {**redis, "port": 7000 + n, "needs": [f"s{b}" for a, b in edges if a == n]}
        for n in range(10)
    }
    data["companion"] = {}
    result = system.parse_system(tomli_w.dumps(data))
    if isinstance(result, system.System):
        order = graph.sort_by_needs(result.nodes())
        assert sorted(order) == sorted(result.nodes())
        assert all(order.index(f"s{b}") < order.index(f"s{a}") for a, b in edges)
    else:
        assert any("cycle" in problem.remedy for problem in result)


def test_mutual_wants_get_one_order_and_needs_come_before_wants() -> None:
    worker = system.load_system(ROOT / "system.toml").service["worker"]
    edges = {"b": (["c"], ["a", "b", "x"]), "a": ([], ["b", "c"]), "c": ([], ["b"])}
    nodes = {
        name: worker.model_copy(update={"needs": needs, "wants": wants})
        for name, (needs, wants) in edges.items()
    }
    assert graph.compute_start_dependencies(nodes) == {"a": ["b", "c"], "b": ["c"], "c": []}

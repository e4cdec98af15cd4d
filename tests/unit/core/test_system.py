"""The one graph: the shipped file is valid, and everything wrong is named with key and remedy."""

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


def remedies(text: str) -> dict[str, str]:
    result = system.parse(text)
    assert isinstance(result, list), "this file should have been refused"
    return {problem.key: problem.remedy for problem in result}


def test_the_shipped_file_is_valid() -> None:
    assert isinstance(system.parse(SHIPPED), system.System)


@pytest.mark.parametrize(
    ("path", "value", "key", "says"),
    [
        ("recording.room", ["kitchen"], "recording.room", "not a key that is known"),
        ("recording.rooms", ["The Kitchen"], "recording.rooms.0", "match pattern"),
        ("recording.enabled", True, "recording.rooms", "names no room"),
        ("probe.every_s", -1, "probe.every_s", "greater than or equal to 0"),
        ("service.api.prt", 1, "service.api.prt", "not a key that is known"),
        ("service.api.port", "8000", "service.api.port", "valid integer"),
        ("service.api.port", 70_000, "service.api.port", "less than or equal to 65535"),
        ("service.api.port", 6379, "service.api.port", "is the port of service.redis"),
        ("service.api.summary", None, "service.api.summary", "is missing"),
        ("service.api.needs", ["ghost"], "service.api.needs", "no service or companion 'ghost'"),
        ("service.api.wants", ["restore"], "service.api.wants", "in needs too"),
        ("service.redis.needs", ["worker"], "service.redis.needs", "is a cycle"),
        ("service.api.needs", ["s3"], "service.api.needs", "only there locally"),
        ("service.restore.probe", "http", "service.restore.probe", "a oneshot has probe"),
        ("card.vram_mib", 8192, "model", "shrink a vram_peak_mib"),
        ("model.kokoro.vram_peak_mib", 1, "model.kokoro.vram_peak_mib", "below vram_reserved_mib"),
        ("model.whisper.vram_peak_mib", 0, "model.whisper.vram_peak_mib", "say what the model"),
        ("model.whisper.vram_reserved_mib", 9, "model.whisper.vram_reserved_mib", "make it 0, or"),
        ("model.kokoro.reload_cost_ms", None, "model.kokoro.reload_cost_ms", "is missing"),
        ("model.kokoro.reload_cost_ms", 15_000, "model.kokoro.reload_cost_ms", "raise the limit"),
        ("model.kokoro.lease_limit_ms", 120_001, "model.kokoro.lease_limit_ms", "lower it"),
        ("card.headroom_mib", 16_384, "card.headroom_mib", "leaves nothing"),
        ("card.queue_depth", 0, "card.queue_depth", "greater than or equal to 1"),
        ("card.idle_unload_s", 0, "card.idle_unload_s", "greater than or equal to 1"),
        ("voice.blend.am_michael", 10, "voice.blend", "make them add up to 100"),
        ("intent.ask_permille", 999, "intent.ask_permille", "above accept_permille"),
        ("retention.turns_days", 0, "retention.turns_days", "greater than or equal to 1"),
        ("schema", 2, "schema", "should be 1"),
        ("talk.media_port_last", 10_003, "talk.media_port_last", "no port for each"),
        ("service.voice.port", 10_050, "talk.media_port_first", "port of voice is in this range"),
        ("talk.wait_ms", 150, "talk.wait_ms", "is below whole_ms"),
        ("talk.hint_ms", 400, "talk.hint_ms", "is not below barge_in_ms"),
    ],
)
def test_a_mistake_is_named_with_its_key_and_what_to_do(
    path: str, value: object, key: str, says: str
) -> None:
    found = remedies(changed(path, value))
    assert key in found, found
    assert says in found[key]


def test_several_mistakes_are_reported_at_once() -> None:
    text = changed("service.api.prt", 1).replace('role = "gpu"', 'role = "toaster"')
    assert {"service.api.prt", "service.gpu.role"} <= remedies(text).keys()


def test_broken_toml_says_where() -> None:
    assert "line 2" in remedies("schema = 1\nservice = ?\n")["syntax"]


def test_a_file_that_cannot_be_read_names_the_variable_to_set(tmp_path: Path) -> None:
    with pytest.raises(SystemFileInvalid, match="set BARNABEE_SYSTEM"):
        system.load(tmp_path / "none.toml")


def test_vram_totals_are_those_of_the_specification() -> None:
    loaded = system.parse(SHIPPED)
    assert isinstance(loaded, system.System)
    gib = {name: round(mib / 1024, 1) for name, mib in graph.vram_totals(loaded).items()}
    assert gib == {
        "normal_reserved_mib": 6.8,
        "normal_peak_mib": 9.5,
        "fallback_reserved_mib": 11.8,
        "fallback_peak_mib": 14.5,
    }


@given(st.text(max_size=200))
def test_no_text_makes_the_reader_crash(text: str) -> None:
    assert isinstance(system.parse(text), list)


KEYS = st.sampled_from(
    ["service.api.port", "service.gpu.needs", "card.vram_mib", "voice", "schema", "model.kokoro"]
)
VALUES = st.one_of(
    st.integers(), st.text(max_size=5), st.booleans(), st.lists(st.text(max_size=5), max_size=3)
)


@given(KEYS, VALUES)
def test_any_value_is_accepted_or_refused_with_a_remedy(path: str, value: object) -> None:
    result = system.parse(changed(path, value))
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
    result = system.parse(tomli_w.dumps(data))
    if isinstance(result, system.System):
        order = graph.start_order(result.nodes())
        assert sorted(order) == sorted(result.nodes())
        assert all(order.index(f"s{b}") < order.index(f"s{a}") for a, b in edges)
    else:
        assert any("cycle" in problem.remedy for problem in result)


def test_two_that_want_each_other_start_in_one_order_and_needs_come_before_wants() -> None:
    one = system.load(ROOT / "system.toml").service["worker"]
    edges = {"b": (["c"], ["a", "b", "x"]), "a": ([], ["b", "c"]), "c": ([], ["b"])}
    nodes = {
        name: one.model_copy(update={"needs": needs, "wants": wants})
        for name, (needs, wants) in edges.items()
    }
    assert graph.ordering(nodes) == {"a": ["b", "c"], "b": ["c"], "c": []}

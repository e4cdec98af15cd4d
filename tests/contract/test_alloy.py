"""config.alloy: everything it names is there, and a record gets three labels and no more."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.alloy import Block, LogLine, parse_config, apply_stages, iter_references, apply_relabel_rules

ROOT = Path(__file__).resolve().parents[2]
FILE = parse_config((ROOT / "nixos/monitoring/config.alloy").read_text(encoding="utf-8"))
TRACE = "0af7651916cd43dd8448eb211c80319c"


def component(name: str) -> Block:
    return next(block for block in FILE.blocks if block.name == name)


def shipped(unit: str, priority: str, text: str) -> LogLine:
    """Return what reaches Loki of one record of a machine's journal."""
    told = {"__journal__systemd_unit": unit, "__journal_priority_keyword": priority}
    labels = apply_relabel_rules(component("loki.relabel").all("rule"), told)
    # what the component adds by itself, and what it is told to add
    labels |= {"job": "loki.source.journal.machine", "host": "core"}
    return apply_stages(component("loki.process").blocks, LogLine(labels, text))


def test_everything_that_is_named_is_there_and_everything_that_is_there_is_used() -> None:
    made = {f"{block.name}.{block.label}" for block in FILE.blocks}
    named = {one.path.rpartition(".")[0] for one in iter_references(FILE) if not one.argument}
    told = {one.argument for one in iter_references(FILE) if one.argument}
    assert named <= made
    assert made - named == {"loki.source.journal.machine"}  # the source: nobody names it
    assert told == {"LOKI_URL", "BARNABEE_HOST"}


def test_both_variables_come_from_the_unit() -> None:
    module = (ROOT / "nixos/modules/observe/alloy.nix").read_text(encoding="utf-8")
    assert "LOKI_URL = lokiUrl;" in module
    assert "BARNABEE_HOST = name;" in module


def test_a_line_of_ours_has_three_labels_and_its_ids_as_metadata() -> None:
    text = json.dumps({"level": "error", "trace_id": TRACE, "stage": None, "session_id": "s1"})
    line = shipped("barnabee-api.service", "info", text)
    assert line.labels == {"component": "api", "host": "core", "level": "error"}
    assert line.metadata == {
        "trace_id": TRACE,
        "session_id": "s1",
        "unit": "barnabee-api.service",
    }
    assert line.text == text


@pytest.mark.parametrize(
    ("unit", "expected"),
    [
        ("barnabee-redis.service", "redis"),
        ("loki.service", "loki"),
        ("nginx.service", "proxy"),
        ("sshd.service", "system"),
        ("user@1000.service", "system"),
        ("", "system"),
    ],
)
def test_everybody_has_a_component_and_there_are_few(unit: str, expected: str) -> None:
    assert shipped(unit, "info", "no JSON").labels["component"] == expected


@pytest.mark.parametrize(
    ("priority", "expected"),
    [
        ("debug", "debug"),
        ("info", "info"),
        ("notice", "info"),
        ("warning", "warning"),
        ("err", "error"),
        ("error", "error"),
        ("crit", "critical"),
        ("alert", "critical"),
        ("emerg", "critical"),
    ],
)
def test_a_line_of_others_has_the_journals_level(priority: str, expected: str) -> None:
    line = shipped("sshd.service", priority, "Accepted publickey")
    assert line.labels == {"component": "system", "host": "core", "level": expected}
    assert line.metadata == {"unit": "sshd.service"}

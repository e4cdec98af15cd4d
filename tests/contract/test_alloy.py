"""config.alloy: its references exist, and every record gets exactly three labels."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.alloy import (
    AlloyBlock,
    LogLine,
    apply_relabel_rules,
    apply_stages,
    iter_references,
    parse_config,
)

ROOT = Path(__file__).resolve().parents[2]
FILE = parse_config((ROOT / "nixos/monitoring/config.alloy").read_text(encoding="utf-8"))
TRACE = "0af7651916cd43dd8448eb211c80319c"


def find_component(name: str) -> AlloyBlock:
    return next(block for block in FILE.blocks if block.name == name)


def process_record(unit: str, priority: str, text: str) -> LogLine:
    """Return a journal record as it is sent to Loki."""
    fields = {"__journal__systemd_unit": unit, "__journal_priority_keyword": priority}
    labels = apply_relabel_rules(find_component("loki.relabel").all("rule"), fields)
    # added by loki.source.journal: its own label, and the configured one
    labels |= {"job": "loki.source.journal.machine", "host": "core"}
    return apply_stages(find_component("loki.process").blocks, LogLine(labels, text))


def test_references_exist_and_every_component_is_used() -> None:
    defined = {f"{block.name}.{block.label}" for block in FILE.blocks}
    named = {ref.path.rpartition(".")[0] for ref in iter_references(FILE) if not ref.argument}
    variables = {ref.argument for ref in iter_references(FILE) if ref.argument}
    assert named <= defined
    assert defined - named == {"loki.source.journal.machine"}  # the source
    assert variables == {"LOKI_URL", "BARNABEE_HOST"}


def test_unit_sets_both_variables() -> None:
    module = (ROOT / "nixos/modules/observe/alloy.nix").read_text(encoding="utf-8")
    assert "LOKI_URL = lokiUrl;" in module
    assert "BARNABEE_HOST = name;" in module


def test_line_of_a_service_has_three_labels_and_its_ids_as_metadata() -> None:
    text = json.dumps({"level": "error", "trace_id": TRACE, "stage": None, "session_id": "s1"})
    line = process_record("barnabee-api.service", "info", text)
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
def test_component_label_of_a_unit(unit: str, expected: str) -> None:
    assert process_record(unit, "info", "no JSON").labels["component"] == expected


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
def test_other_lines_have_the_level_of_the_journal(priority: str, expected: str) -> None:
    line = process_record("sshd.service", priority, "Accepted publickey")
    assert line.labels == {"component": "system", "host": "core", "level": expected}
    assert line.metadata == {"unit": "sshd.service"}

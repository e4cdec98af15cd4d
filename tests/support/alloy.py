"""Parser and simulator of the part of Alloy's language that config.alloy uses.

Alloy is not available on every test machine: this applies the file's relabel rules and stages to
journal records as Alloy's reference describes them.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

_TOKEN = re.compile(r'//[^\n]*|"(?:[^"\\]|\\.)*"|[A-Za-z_][\w.]*|[{}\[\]()=,+]|\s+')


@dataclass
class AlloyBlock:
    """A block: `name "label" { key = value; inner blocks }`."""

    name: str
    label: str = ""
    values: dict[str, Any] = field(default_factory=dict)
    blocks: list[AlloyBlock] = field(default_factory=list)

    def all(self, name: str) -> list[AlloyBlock]:
        return [block for block in self.blocks if block.name == name]


@dataclass(frozen=True)
class Reference:
    """A component's export, or a function call."""

    path: str
    argument: str = ""


@dataclass
class LogLine:
    """A log line with its labels and structured metadata."""

    labels: dict[str, str]
    text: str
    metadata: dict[str, str] = field(default_factory=dict)


def parse_config(text: str) -> AlloyBlock:
    """Return the file as one block; ValueError names the first syntax error."""
    tokens = list(_tokenize(text))
    top, rest = _parse_body(tokens, 0, AlloyBlock("file"))
    if rest != len(tokens):
        raise ValueError(f"unexpected closing brace after {tokens[max(0, rest - 5) : rest]}")
    return top


def iter_references(block: AlloyBlock) -> Iterator[Reference]:
    """Return every reference in a block and its inner blocks."""
    for value in block.values.values():
        yield from _iter_value_references(value)
    for inner in block.blocks:
        yield from iter_references(inner)


def apply_relabel_rules(rules: list[AlloyBlock], given: dict[str, str]) -> dict[str, str]:
    """Apply `replace` rules to the labels of an entry; labels with two underscores are internal."""
    labels = dict(given)
    for rule in rules:
        values = rule.values
        source = ";".join(labels.get(name, "") for name in values.get("source_labels", []))
        found = re.fullmatch(values.get("regex", "(.*)"), source)
        if found:
            replacement = re.sub(r"\$(\d)", r"\\\1", values.get("replacement", "$1"))
            value = found.expand(replacement) if found.groups() else replacement
            labels[values["target_label"]] = value
    return {name: value for name, value in labels.items() if value and not name.startswith("__")}


def apply_stages(stages: list[AlloyBlock], line: LogLine) -> LogLine:
    """Apply the stages json, labels, structured_metadata and label_keep to a line."""
    extracted: dict[str, Any] = {}
    for stage in stages:
        values = stage.values.get("values") or stage.values.get("expressions")
        if stage.name == "stage.json":
            extracted |= _extract_json(values, line.text)
        elif stage.name == "stage.labels":
            line.labels |= _select_values(values, extracted)
        elif stage.name == "stage.structured_metadata":
            line.metadata |= _select_values(values, extracted)
            for name, source in values.items():
                if (source or name) in line.labels:
                    line.metadata[name] = line.labels.pop(source or name)
        elif stage.name == "stage.label_keep":
            line.labels = {name: label for name, label in line.labels.items() if name in values}
        else:
            raise ValueError(f"unknown stage {stage.name}")
    return line


def _extract_json(expressions: dict[str, str], text: str) -> dict[str, Any]:
    try:
        record = json.loads(text)
    except ValueError:
        return {}
    return {name: record.get(path) for name, path in expressions.items()}


def _select_values(values: dict[str, str], extracted: dict[str, Any]) -> dict[str, str]:
    found = {name: extracted.get(source or name) for name, source in values.items()}
    return {name: str(value) for name, value in found.items() if value is not None}


def _tokenize(text: str) -> Iterator[str]:
    at = 0
    while at < len(text):
        found = _TOKEN.match(text, at)
        if not found:
            raise ValueError(f"syntax error: {text[at : at + 30]!r}")
        at = found.end()
        if not found[0].isspace() and not found[0].startswith("//"):
            yield found[0]


def _parse_body(tokens: list[str], at: int, block: AlloyBlock) -> tuple[AlloyBlock, int]:
    while at < len(tokens) and tokens[at] != "}":
        name = tokens[at]
        if tokens[at + 1] == "=":
            block.values[name], at = _parse_value(tokens, at + 2)
            continue
        label = tokens[at + 1].strip('"') if tokens[at + 1] != "{" else ""
        at += 2 if label else 1
        if tokens[at] != "{":
            raise ValueError(f"{name} has no body")
        inner, at = _parse_body(tokens, at + 1, AlloyBlock(name, label))
        if at >= len(tokens):
            raise ValueError(f"{name} is not closed")
        block.blocks.append(inner)
        at += 1
    return block, at


def _parse_value(tokens: list[str], at: int) -> tuple[Any, int]:
    value, at = _parse_term(tokens, at)
    while at < len(tokens) and tokens[at] == "+":
        more, at = _parse_term(tokens, at + 1)
        value = [value, more]
    return value, at


def _parse_term(tokens: list[str], at: int) -> tuple[Any, int]:
    token = tokens[at]
    if token.startswith('"'):
        return json.loads(token), at + 1
    if token in "[{":
        return _parse_collection(tokens, at)
    if at + 1 < len(tokens) and tokens[at + 1] == "(":
        return Reference(token, json.loads(tokens[at + 2])), at + 4
    return Reference(token), at + 1


def _parse_collection(tokens: list[str], at: int) -> tuple[Any, int]:
    pairs, items, keyed = {}, [], tokens[at] == "{"
    at += 1
    while tokens[at] not in "]}":
        if keyed:
            key = tokens[at]
            pairs[key], at = _parse_value(tokens, at + 2)
        else:
            item, at = _parse_value(tokens, at)
            items.append(item)
        if tokens[at] == ",":
            at += 1
        elif tokens[at] not in "]}":
            raise ValueError(f"a comma is missing before {tokens[at]}")
    return (pairs if keyed else items), at + 1


def _iter_value_references(value: Any) -> Iterator[Reference]:
    if isinstance(value, Reference):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from _iter_value_references(item)

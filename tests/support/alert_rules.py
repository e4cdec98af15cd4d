"""Alert rules of nixos/monitoring/alerts, and the series in their expressions."""

from __future__ import annotations

import importlib.util
import re
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "nixos/monitoring"
_LABELS = re.compile(r"\{[^}]*\}")
_TEXTS = re.compile(r"\"[^\"]*\"|'[^']*'")
_GROUPING = re.compile(r"\b(?:by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)")
_RANGES = re.compile(r"\[[^\]]*\]")
_NAMES = re.compile(r"(?<![\w.])([a-zA-Z_:][\w:]*)\b(?!\s*\()")
_WORDS = frozenset({"and", "or", "unless", "by", "on", "without", "ignoring", "bool", "offset"})


@cache
def load_alert_rules() -> dict[str, dict[str, Any]]:
    """Return every rule by the name of its alert, with `service`, the name of its file."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted((FOLDER / "alerts").glob("*.yml")):
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            for rule in group["rules"]:
                assert rule["alert"] not in found, f"{rule['alert']} is there twice"
                found[rule["alert"]] = rule | {"service": path.stem}
    return found


def find_series(expression: str) -> set[str]:
    """Return the names of series in a PromQL expression."""
    text = expression
    for pattern in (_LABELS, _TEXTS, _RANGES, _GROUPING):
        text = pattern.sub(" ", text)
    return {name for name in _NAMES.findall(text) if name not in _WORDS}


@cache
def load_metrics_reference() -> ModuleType:
    """Return scripts/metrics_reference.py."""
    path = ROOT / "scripts/metrics_reference.py"
    spec = importlib.util.spec_from_file_location("metrics_reference", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    __import__("sys").modules[spec.name] = module  # dataclasses need it
    spec.loader.exec_module(module)
    return module


@cache
def list_exported_series() -> frozenset[str]:
    """Return the names of all series that the services export."""
    return frozenset(
        name
        for families in load_metrics_reference().list_series().values()
        for family in families
        for name in family.exported
    )


# Added by Prometheus: a series of every target, and the labels of every series.
BY_PROMETHEUS = {"up": set[str]()}
TARGET_LABELS = {"job", "instance", "component", "host", "__name__"}


@cache
def list_series_labels() -> dict[str, set[str]]:
    """Return the labels of every exported series, by its name."""
    found = dict(BY_PROMETHEUS)
    for families in load_metrics_reference().list_series().values():
        for family in families:
            for name in family.exported:
                buckets = {"le"} if name.endswith("_bucket") else set[str]()
                found[name] = set(family.labels) | buckets
    return found

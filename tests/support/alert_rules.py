"""The alert rules as tables, and what stands in their expressions."""

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
    """Return every alert by name, with the service its file is named for."""
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
    __import__("sys").modules[spec.name] = module  # dataclasses look for their module there
    spec.loader.exec_module(module)
    return module


@cache
def list_exported_series() -> frozenset[str]:
    """Return every name that a query about our own services can use."""
    return frozenset(
        name
        for families in load_metrics_reference().series().values()
        for family in families
        for name in family.exported
    )

"""Grafana dashboards: generates nixos/monitoring/dashboards/*.json from dashboards.toml.

Run `python scripts/grafana_dashboards.py`; a test fails when a file differs.
"""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MONITORING = Path(__file__).resolve().parents[1] / "nixos/monitoring"
FOLDER = MONITORING / "dashboards"
PROMETHEUS = {"type": "prometheus", "uid": "prometheus"}
LOKI = {"type": "loki", "uid": "loki"}
WIDTH, HEIGHT = 24, 8


@dataclass(frozen=True)
class Panel:
    """One panel: title, unit, queries by their legend."""

    title: str
    unit: str
    queries: dict[str, str]
    kind: str = "timeseries"
    width: int = 12
    height: int = HEIGHT
    about: str = ""
    colours: list[tuple[float | str, str]] = field(default_factory=list)
    source: str = "prometheus"


LOG_VARIABLES = [
    {
        "name": "component",
        "label": "service",
        "type": "query",
        "datasource": LOKI,
        "query": {"type": 1, "label": "component", "refId": "component"},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".+",
        "current": {"text": "All", "value": "$__all"},
    },
    {"name": "trace_id", "label": "trace id", "type": "textbox", "query": ""},
]


def main() -> None:
    """Write every dashboard."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, content in render_dashboards().items():
        (FOLDER / f"{name}.json").write_text(content, encoding="utf-8")


def render_dashboards() -> dict[str, str]:
    """Return the content of each file by its name."""
    dashboards = tomllib.loads((MONITORING / "dashboards.toml").read_text(encoding="utf-8"))
    return {
        name: _text(name, one["title"], [Panel(**panel) for panel in one["panel"]])
        for name, one in dashboards.items()
    }


def _text(name: str, title: str, panels: list[Panel]) -> str:
    model = {
        "uid": f"barnabee-{name}",
        "title": title,
        "tags": ["barnabee"],
        "timezone": "browser",
        "schemaVersion": 39,
        "editable": False,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "links": [
            {"type": "dashboards", "tags": ["barnabee"], "title": "BarnabeeNet", "keepTime": True}
        ],
        "templating": {"list": LOG_VARIABLES if name == "logs" else []},
        "panels": _placed(panels),
    }
    return json.dumps(model, indent=1, ensure_ascii=False) + "\n"


def _placed(panels: list[Panel]) -> list[dict[str, Any]]:
    """Return the panels from left to right and row by row."""
    found, x, y, row = list[dict[str, Any]](), 0, 0, 0
    for number, panel in enumerate(panels, start=1):
        if x + panel.width > WIDTH:
            x, y, row = 0, y + row, 0
        position = {"x": x, "y": y, "w": panel.width, "h": panel.height}
        found.append(_panel(number, panel) | {"gridPos": position})
        x, row = x + panel.width, max(row, panel.height)
    return found


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    source = LOKI if panel.source == "loki" else PROMETHEUS
    steps = [
        {"value": None if value == "below" else value, "color": colour}
        for value, colour in panel.colours
    ]
    defaults: dict[str, Any] = {"unit": panel.unit}
    if steps:
        defaults |= {"color": {"mode": "thresholds"}}
        defaults |= {"thresholds": {"mode": "absolute", "steps": steps}}
    options: dict[str, Any] = {}
    if panel.kind == "stat":
        options = {"textMode": "value_and_name", "colorMode": "background", "graphMode": "none"}
    if panel.kind == "logs":
        options = {"showTime": True, "wrapLogMessage": True, "enableLogDetails": True}
    return {
        "id": number,
        "title": panel.title,
        "description": panel.about,
        "type": panel.kind,
        "datasource": source,
        "fieldConfig": {"defaults": defaults, "overrides": []},
        "options": options,
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": source,
                "expr": query,
                "legendFormat": legend,
            }
            for index, (legend, query) in enumerate(panel.queries.items())
        ],
    }


if __name__ == "__main__":
    main()

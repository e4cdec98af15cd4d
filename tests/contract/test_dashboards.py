"""Dashboards: queries parse and use exported series and their labels; panels have their units."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from support.alert_rules import TARGET_LABELS, list_series_labels
from support.programs import needs_program

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted((ROOT / "nixos/monitoring/dashboards").glob("*.json"))
VARIABLES = {"$__rate_interval": "5m", "$__auto": "5m", "$component": ".+", "$trace_id": "ab"}
FUNCTIONS = {"histogram_quantile", "sum", "by", "rate", "increase", "time", "count_over_time"}
UNITS = {
    "_seconds": {"s"},
    "_seconds_bucket": {"s"},
    "_bytes": {"bytes", "percentunit"},
    "_celsius": {"celsius"},
    "_milliwatts": {"mwatt"},
    "_total": {"short"},
    "_success": {"bool_yes_no"},
    "_up": {"bool_yes_no"},
}


@dataclass(frozen=True)
class Query:
    """One query of a panel with its variables replaced."""

    board: str
    panel: str
    unit: str
    source: str
    legend: str
    text: str

    def __str__(self) -> str:
        return f"{self.board}: {self.panel}"


def iter_queries() -> Iterator[Query]:
    for file in FILES:
        board = json.loads(file.read_text(encoding="utf-8"))
        for panel in board["panels"]:
            unit = panel["fieldConfig"]["defaults"]["unit"]
            for target in panel["targets"]:
                text = target["expr"]
                for name, value in VARIABLES.items():
                    text = text.replace(name, value)
                source = target["datasource"]["type"]
                legend = target["legendFormat"]
                yield Query(file.stem, panel["title"], unit, source, legend, text)


QUERIES = list(iter_queries())
PROMQL = [query for query in QUERIES if query.source == "prometheus"]
LOGQL = [query for query in QUERIES if query.source == "loki"]


def find_series_names(text: str) -> set[str]:
    """Return the names of the series in a query."""
    bare = re.sub(r'"(?:[^"\\]|\\.)*"|\bby \([^)]*\)|\{[^}]*\}|\[[^\]]*\]', " ", text)
    found = set(re.findall(r"[a-zA-Z_:][\w:]*", bare)) - FUNCTIONS
    for pattern in re.findall(r'__name__=~"([^"]+)"', text):
        found |= {name for name in list_series_labels() if re.fullmatch(pattern, name)}
    return found


def find_labels(text: str) -> set[str]:
    """Return the labels in the selectors and groupings of a query."""
    grouped = [name for part in re.findall(r"\bby \(([^)]*)\)", text) for name in part.split(",")]
    selected = re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\s*\"", text)
    return {name.strip() for name in (*grouped, *selected)}


def test_dashboard_files_are_up_to_date() -> None:
    assert {file.stem for file in FILES} == {"overview", "voice", "vram", "backups", "logs"}
    code = (
        "import grafana_dashboards, json, sys;"
        "json.dump(grafana_dashboards.render_dashboards(), sys.stdout)"
    )
    done = subprocess.run(
        ["python3", "-c", code], cwd=ROOT / "scripts", capture_output=True, text=True, check=True
    )
    made = json.loads(done.stdout)
    for file in FILES:
        assert file.read_text(encoding="utf-8") == made[file.stem], file.name


@pytest.mark.parametrize("query", PROMQL, ids=str)
def test_query_uses_exported_series(query: Query) -> None:
    assert find_series_names(query.text)
    assert find_series_names(query.text) <= list_series_labels().keys()


@pytest.mark.parametrize("query", PROMQL, ids=str)
def test_query_uses_labels_of_its_series(query: Query) -> None:
    known = (
        set[str]().union(*(list_series_labels()[name] for name in find_series_names(query.text)))
        | TARGET_LABELS
    )
    shown = set(re.findall(r"\{\{(\w+)\}\}", query.legend))
    assert find_labels(query.text) | shown <= known


@pytest.mark.parametrize("query", PROMQL, ids=str)
def test_panel_has_the_unit_of_its_series(query: Query) -> None:
    for name in find_series_names(query.text):
        for ending, units in UNITS.items():
            if name.endswith(ending):
                assert query.unit in units, name


def test_unknown_series_are_detected() -> None:
    assert not find_series_names("rate(barnabee_requests_total[5m])") <= list_series_labels().keys()
    assert find_series_names("sum by (le) (rate(barnabee_stage_seconds_bucket{a='b'}[5m]))") == {
        "barnabee_stage_seconds_bucket"
    }


@needs_program("promtool", "prometheus")
def test_promtool_parses_every_query(tmp_path: Path) -> None:
    rules = [{"record": f"test:q{at}", "expr": query.text} for at, query in enumerate(PROMQL)]
    file = tmp_path / "rules.yml"  # JSON is YAML
    file.write_text(json.dumps({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    command = ["promtool", "check", "rules", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(PROMQL)} rules found" in done.stdout


def test_loki_queries_select_by_the_three_labels() -> None:
    assert len(LOGQL) >= 3
    for query in LOGQL:
        selector = re.match(r"(?:sum by \(component\) \(count_over_time\()?\{([^}]*)\}", query.text)
        assert selector, query
        assert set(re.findall(r"(\w+)=", selector[1])) <= {"component", "host", "level"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_panels_do_not_overlap_and_have_a_data_source(file: Path) -> None:
    board = json.loads(file.read_text(encoding="utf-8"))
    assert board["uid"] == f"barnabee-{file.stem}"
    taken = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert place["x"] + place["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
        assert panel["datasource"]["uid"] in {"prometheus", "loki"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_used_variables_are_defined(file: Path) -> None:
    board = json.loads(file.read_text(encoding="utf-8"))
    used = {
        name
        for panel in board["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\$(\w+)", target["expr"])
        if not name.startswith("__")
    }
    assert used == {variable["name"] for variable in board["templating"]["list"]}

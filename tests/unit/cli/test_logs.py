from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.up import logfile
from barnabee.up.logfile import rotated_path
from barnabee.up.paths import Paths


def line(number: int, component: str = "api", trace_id: str | None = None) -> str:
    record = {"event": f"e{number}", "component": component, "level": "info", "trace_id": trace_id}
    return json.dumps(record | {"timestamp": "2026-11-23T08:00:00Z"}) + "\n"


@pytest.fixture
def log(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("BARNABEE_HOME", str(tmp_path))
    paths = Paths(tmp_path)
    paths.make()
    return paths.log


def show_events(*arguments: str) -> list[str]:
    result = CliRunner().invoke(app, ["logs", "--json", *arguments])
    assert result.exit_code == 0, result.output
    return [json.loads(text)["event"] for text in result.stdout.splitlines()]


def test_the_last_lines_are_shown(log: Path) -> None:
    log.write_text("".join(line(number) for number in range(9)))
    assert show_events("-n", "3") == ["e6", "e7", "e8"]
    assert show_events("-n", "0") == []


def test_lines_are_chosen_by_component(log: Path) -> None:
    log.write_text(line(1, "api") + line(2, "gpu") + "not json\n" + line(3, "api"))
    assert show_events("--component", "gpu") == ["e2"]


def test_a_trace_is_found_in_rotated_files(log: Path) -> None:
    rotated_path(log, 2).write_text(line(1, trace_id="t"))
    rotated_path(log, 1).write_text(line(2, trace_id="u"))
    log.write_text(line(3, trace_id="t"))
    assert show_events("--trace", "t") == ["e1", "e3"]


def test_an_incomplete_line_is_read_once_complete() -> None:
    whole = line(1)
    file = io.StringIO(whole[:10])
    assert list(logfile.read_records(file)) == []
    file.seek(0, io.SEEK_END)
    file.write(whole[10:])
    file.seek(0)
    assert [record["event"] for record in logfile.read_records(file)] == ["e1"]


def test_text_output_has_time_component_and_event(log: Path) -> None:
    log.write_text(line(1, "gpu"))
    result = CliRunner().invoke(app, ["logs"])
    assert result.stdout.split() == ["08:00:00", "gpu", "e1"]

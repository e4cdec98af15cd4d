"""Output and exit status of `barnabee accept`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee.accept.criteria import Criterion, CriterionResult
from barnabee.cli import health
from barnabee.cli.app import app

GOOD = Criterion("health cascade", 60, "s").judge(8.7, "the runner's record")
BAD = Criterion("replica lag", 0, "txids").judge(3, "litestream's transaction ids")
OPEN = Criterion("test alert", 60, "s").skip("no Alertmanager")


@pytest.fixture
def results(monkeypatch: pytest.MonkeyPatch) -> list[CriterionResult]:
    measured = [GOOD]

    async def measure(*_: object) -> list[CriterionResult]:
        return measured

    monkeypatch.setattr(health, "_measure", measure)
    return measured


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["accept", *arguments])
    return done.exit_code, done.output


def test_each_line_has_value_limit_status_and_source(results: list[CriterionResult]) -> None:
    status, text = run()
    line = text.splitlines()[0]
    assert status == 0
    assert line.split() == [
        *("health", "cascade", "8.7", "s", "limit", "60", "s", "passed"),
        *("the", "runner's", "record"),
    ]
    assert text.splitlines()[-1] == "accepted"


def test_a_failed_criterion_gives_its_reason_and_fails_all(results: list[CriterionResult]) -> None:
    results.append(BAD)
    status, text = run()
    assert status == 1
    assert "3 txids is more than 0" in text
    assert text.splitlines()[-1] == "not accepted"


def test_unchecked_criteria_fail_unless_allowed(results: list[CriterionResult]) -> None:
    results.append(OPEN)
    assert run()[0] == 1
    assert run("--allow-unchecked")[0] == 0
    report = json.loads(run("--json", "--allow-unchecked")[1])
    assert [result["verdict"] for result in report["criteria"]] == ["passed", "not checked"]
    assert report["accepted"] is True


def test_a_missing_token_file_is_named(results: list[CriterionResult], tmp_path: Path) -> None:
    status, text = run("--token-file", str(tmp_path / "none"))
    assert status == 2
    assert "--token-file is invalid" in text

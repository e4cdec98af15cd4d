"""What `barnabee accept` prints, and what its exit status says."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee.accept.criteria import Limit, Row
from barnabee.cli import accept
from barnabee.cli.app import app

GOOD = Limit("health cascade", 60, "s").measured(8.7, "the runner's record")
BAD = Limit("replica lag", 0, "txids").measured(3, "litestream's transaction ids")
OPEN = Limit("test alert", 60, "s").unchecked("no Alertmanager")


@pytest.fixture
def rows(monkeypatch: pytest.MonkeyPatch) -> list[Row]:
    found = [GOOD]

    async def measured(*_: object) -> list[Row]:
        return found

    monkeypatch.setattr(accept, "_rows", measured)
    return found


def run(*arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["accept", *arguments])
    return done.exit_code, done.output


def test_each_row_has_figure_limit_verdict_and_source(rows: list[Row]) -> None:
    status, text = run()
    line = text.splitlines()[0]
    assert status == 0
    assert line.split() == [
        *("health", "cascade", "8.7", "s", "limit", "60", "s", "passed"),
        *("the", "runner's", "record"),
    ]
    assert text.splitlines()[-1] == "accepted"


def test_a_row_that_fails_says_why_and_fails_the_whole(rows: list[Row]) -> None:
    rows.append(BAD)
    status, text = run()
    assert status == 1
    assert "3 txids is more than 0" in text
    assert text.splitlines()[-1] == "not accepted"


def test_what_was_not_checked_fails_unless_it_is_allowed(rows: list[Row]) -> None:
    rows.append(OPEN)
    assert run()[0] == 1
    assert run("--allow-unchecked")[0] == 0
    told = json.loads(run("--json", "--allow-unchecked")[1])
    assert [row["verdict"] for row in told["criteria"]] == ["passed", "not checked"]
    assert told["accepted"] is True


def test_a_token_file_that_is_not_there_is_named(rows: list[Row], tmp_path: Path) -> None:
    status, text = run("--token-file", str(tmp_path / "none"))
    assert status == 2
    assert "--token-file is not usable" in text

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee import __version__
from barnabee.cli.app import app


@pytest.fixture
def cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CliRunner:
    monkeypatch.setenv("BARNABEE_HOME", str(tmp_path / "home"))
    return CliRunner()


def test_the_version_is_the_packages(cli: CliRunner) -> None:
    result = cli.invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"barnabee {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "status", "code"),
    [
        (["status"], 1, "not_running"),
        (["health"], 1, "not_running"),
        (["health", "--wait", "60"], 1, "not_running"),
        (["say", "hello"], 1, "not_running"),
        (["link"], 1, "not_running"),
        (["logs"], 2, "not_found"),
        (["say"], 2, "bad_request"),
        (["say", "hello", "--wav", "a.wav"], 2, "bad_request"),
        (["check", "/nonexistent.toml"], 2, "system_file_invalid"),
    ],
)
def test_an_error_is_one_line_with_code_and_exit_status(
    cli: CliRunner, arguments: list[str], status: int, code: str
) -> None:
    result = cli.invoke(app, arguments)
    assert result.exit_code == status
    assert re.fullmatch(rf"barnabee: [^\n]+ \[{code}\]\n", result.stderr), result.stderr
    assert result.stdout == ""


def test_down_without_a_run_succeeds(cli: CliRunner) -> None:
    result = cli.invoke(app, ["down"])
    assert (result.exit_code, result.output) == (0, "nothing was running\n")


def test_an_unknown_command_is_rejected(cli: CliRunner) -> None:
    assert cli.invoke(app, ["dance"]).exit_code == 2


@pytest.mark.parametrize("name", [command.name for command in app.registered_commands])
def test_every_command_has_help(cli: CliRunner, name: str) -> None:
    result = cli.invoke(app, [name, "--help"])
    assert result.exit_code == 0
    assert f"barnabee {name}" in result.output or f"root {name}" in result.output

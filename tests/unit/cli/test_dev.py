"""`barnabee test`: the checks it runs, and its exit status."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee.cli import dev
from barnabee.cli.app import app

Statuses = dict[str, int]
SLOW = ["pytest, long tests", "pytest, sequential tests"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    def of(statuses: Statuses, *arguments: str) -> tuple[int, list[str]]:
        ran: list[str] = []

        def run_one(name: str, _command: object, _environment: object, _root: Path) -> int:
            ran.append(name)
            return statuses.get(name, 0)

        monkeypatch.setattr(dev, "_prepare_environment", dict)
        monkeypatch.setattr(dev, "_run", run_one)
        return CliRunner().invoke(app, ["test", *arguments]).exit_code, ran

    return of


def test_slow_tests_run_only_with_all(
    run: Callable[..., tuple[int, list[str]]],
) -> None:
    status, ran = run({})
    assert status == 0
    assert not set(SLOW) & set(ran)
    assert run({}, "--all")[1][-2:] == SLOW


@pytest.mark.parametrize("failing", ["ruff check", "mypy", "pytest", *SLOW])
def test_one_failure_fails_the_command_and_nothing_is_retried(
    run: Callable[..., tuple[int, list[str]]], failing: str
) -> None:
    status, ran = run({failing: 1}, "--all")
    assert status == 1
    assert ran.count(failing) == 1

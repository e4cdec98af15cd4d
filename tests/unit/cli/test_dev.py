"""`barnabee test`: what it runs, and when it is green."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee.cli import dev
from barnabee.cli.app import app

Statuses = dict[str, int]
SLOW = ["pytest, what takes minutes", "pytest, one at a time"]
AGAIN = ": what failed, once more"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    def of(statuses: Statuses, *arguments: str) -> tuple[int, list[str]]:
        ran: list[str] = []

        def run_one(name: str, _command: object, _environment: object, _root: Path) -> int:
            ran.append(name)
            return statuses.get(name, 0)

        monkeypatch.setattr(dev, "_prepare", dict)
        monkeypatch.setattr(dev, "_run", run_one)
        return CliRunner().invoke(app, ["test", *arguments]).exit_code, ran

    return of


def test_everything_green_is_green_and_slow_tests_are_asked_for(
    run: Callable[..., tuple[int, list[str]]],
) -> None:
    status, ran = run({})
    assert status == 0
    assert not set(SLOW) & set(ran)
    assert run({}, "--all")[1][-2:] == SLOW


@pytest.mark.parametrize("failing", ["ruff check", "mypy", "pytest"])
def test_one_failure_is_enough(run: Callable[..., tuple[int, list[str]]], failing: str) -> None:
    assert run({failing: 1})[0] == 1


@pytest.mark.parametrize("name", ["pytest", *SLOW])
def test_with_all_a_test_that_fails_is_tried_once_more(
    run: Callable[..., tuple[int, list[str]]], name: str
) -> None:
    assert run({name: 1}, "--all") == (0, [*run({}, "--all")[1], name + AGAIN])
    assert run({name: 1, name + AGAIN: 1}, "--all")[0] == 1


def test_a_run_that_broke_off_is_not_tried_again(
    run: Callable[..., tuple[int, list[str]]],
) -> None:
    status, ran = run({SLOW[1]: 2}, "--all")
    assert (status, SLOW[1] + AGAIN in ran) == (1, False)

"""`barnabee test`: the checks it runs, and its exit status."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from barnabee.cli import dev
from barnabee.cli.app import app

Statuses = dict[str, int]
SLOW = ["pytest, sequential tests", "bench, smoke run"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[..., tuple[int, list[str]]]:
    def of(statuses: Statuses, *arguments: str) -> tuple[int, list[str]]:
        ran: list[str] = []

        def run_one(name: str, _command: object, _environment: object, _root: Path) -> int:
            ran.append(name)
            return statuses.get(name, 0)

        @contextmanager
        def run_beside(name: str, *_: object) -> Iterator[SimpleNamespace]:
            ran.append(name)
            yield SimpleNamespace(returncode=statuses.get(name, 0))

        monkeypatch.setattr(dev, "_prepare_environment", dict)
        monkeypatch.setattr(dev, "_run_beside", run_beside)
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


def test_a_smoke_run_of_the_benchmarks_is_announced_to_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    environments: list[Statuses] = []

    def run_one(_name: str, _command: object, environment: Statuses, _root: Path) -> int:
        environments.append(environment)
        return 0

    monkeypatch.setattr(dev, "_prepare_environment", dict)
    monkeypatch.setattr(dev, "_run", run_one)
    for arguments in (["bench"], ["bench", "--smoke"]):
        assert CliRunner().invoke(app, arguments).exit_code == 0
    assert environments == [{}, {"BARNABEE_BENCH_SMOKE": "1"}]


def test_a_program_beside_the_tests_shows_its_output_after_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(dev, "_find_command", list)
    command = (sys.executable, "-c", "import sys; print('found one'); sys.exit(3)")
    with dev._run_beside("mypy", command, {}, tmp_path) as process:
        print("the tests")
    assert process.returncode == 3
    assert capsys.readouterr().out == "the tests\n== mypy\nfound one\n== mypy: FAILED (3)\n"

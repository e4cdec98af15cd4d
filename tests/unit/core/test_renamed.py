"""Renamed and removed keys of the system file: accepted, with one warning each."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from barnabee.core import renamed, system

SHIPPED = (Path(__file__).resolve().parents[3] / "system.toml").read_text(encoding="utf-8")


@pytest.fixture(autouse=True)
def forget_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(renamed, "_warned", set())


def rename(table: dict[str, Any], path: list[str], old: str) -> None:
    first, *rest = path
    if first == "*":
        for value in table.values():
            rename(value, rest, old)
    elif rest:
        rename(table[first], rest, old)
    else:
        table[old] = table.pop(first)


def with_old_names(names: Mapping[str, str] = renamed.RENAMED_SYSTEM_KEYS) -> str:
    data = tomllib.loads(SHIPPED)
    for old, new in names.items():
        rename(data, new.split("."), old.rpartition(".")[2])
    for old in renamed.REMOVED_SYSTEM_KEYS:
        table, key = old.split(".")
        data[table][key] = 5
    return tomli_w.dumps(data)


def test_a_file_with_every_old_key_is_the_same_system() -> None:
    assert system.parse_system(with_old_names()) == system.parse_system(SHIPPED)


def test_each_old_key_is_warned_about_once(capsys: pytest.CaptureFixture[str]) -> None:
    for _ in range(2):
        system.parse_system(with_old_names())
    warnings = capsys.readouterr().err.splitlines()
    assert len(warnings) == len(renamed.RENAMED_SYSTEM_KEYS) + len(renamed.REMOVED_SYSTEM_KEYS)
    for old, new in renamed.RENAMED_SYSTEM_KEYS.items():
        assert sum(f"`{old}` is now called `{new}`" in line for line in warnings) == 1
    for old in renamed.REMOVED_SYSTEM_KEYS:
        assert sum(f"`{old}` is ignored" in line for line in warnings) == 1


def test_the_shipped_file_has_no_old_keys(capsys: pytest.CaptureFixture[str]) -> None:
    system.parse_system(SHIPPED)
    assert capsys.readouterr().err == ""


def test_an_old_key_beside_its_new_name_is_a_problem() -> None:
    problems = system.parse_system(SHIPPED.replace("turns_max", "turns_kept = 20\nturns_max"))
    assert isinstance(problems, list)
    assert [problem.key for problem in problems] == ["session.turns_kept"]


def test_a_key_of_the_wrong_type_is_still_a_problem() -> None:
    problems = system.parse_system('schema = 1\ncard = 5\nexternal = "x"\n')
    assert isinstance(problems, list)
    assert {"gpu", "external"} <= {problem.key for problem in problems}

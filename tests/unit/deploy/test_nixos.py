"""Activation of a system by its own program, here a script."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.deploy.command import StepFailed
from barnabee.deploy.nixos import NixosMachine


def write_program(path: Path, *lines: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines]), encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write_program(tmp_path / "path/systemctl", "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path / 'path'}:/usr/bin:/bin")
    return tmp_path / "system/bin/switch-to-configuration"


def activate(program: Path) -> str:
    return NixosMachine().activate(program.parents[1], limit_s=10)


def test_the_failed_part_of_an_activation_is_reported(program: Path) -> None:
    write_program(
        program,
        "echo \"Activation script snippet 'users' failed (1)\"",
        "echo 'Failed to run activate script' >&2",
        "echo 'the following new units were started: a.service' >&2",
        "exit 2",
    )
    told = (
        r"status 2: Activation script snippet 'users' failed \(1\); Failed to run activate script"
    )
    with pytest.raises(StepFailed, match=told) as caught:
        activate(program)
    assert "a.service" not in str(caught.value)


def test_failed_units_of_an_activation_are_a_note(program: Path) -> None:
    write_program(
        program,
        "echo 'warning: the following units failed: b.service' >&2",
        "echo 'b.service - a status that follows' >&2",
        "exit 4",
    )
    note = activate(program)
    assert note.endswith("activated: warning: the following units failed: b.service")


def test_a_failure_of_another_kind_is_its_last_line(program: Path) -> None:
    write_program(program, "echo 'no such system' >&2", "exit 1")
    with pytest.raises(StepFailed, match="status 1: no such system"):
        activate(program)

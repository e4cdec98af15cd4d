"""Checks of the flake: each evaluates, and the test driver accepts its script. None is booted."""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support.nix import NIXPKGS, ROOT, VM_TESTS, evaluate, needs_nixpkgs

VIRTUAL = {"rollback"}  # needs its own kernel and boot loader


@functools.cache
def check(name: str) -> Any:
    return evaluate(f'hosts.check "{name}"')


@pytest.mark.parametrize("name", VM_TESTS)
def test_script_ends_with_the_assertion_about_all_machines(name: str) -> None:
    tree = ast.parse((ROOT / f"tests/vm/{name}.py").read_text(encoding="utf-8"))
    last = tree.body[-1]
    assert isinstance(last, ast.With)
    assert ast.unparse(last.body[-1]).startswith("assert_sound(")


@needs_nixpkgs
@pytest.mark.timeout(500)
@pytest.mark.parametrize("name", VM_TESTS)
def test_check_evaluates_without_failed_assertions(name: str) -> None:
    found = check(name)
    kind = "vm" if name in VIRTUAL else "container"
    assert re.fullmatch(rf"/nix/store/\S+-{kind}-test-run-{name}\.drv", found["drvPath"])
    assert found["failed"] == []


@needs_nixpkgs
@pytest.mark.timeout(500)
@pytest.mark.parametrize("name", VM_TESTS)
def test_script_passes_the_checks_of_the_driver(name: str, tmp_path: Path) -> None:
    found = check(name)
    nixos = Path(str(NIXPKGS)) / "nixos/lib"
    machines = [f"{machine} = create_fake_qemu_machine()" for machine in found["vms"]]
    machines += [f"{machine} = create_fake_nspawn_machine()" for machine in found["containers"]]
    stub = (nixos / "test-script-prepend.py").read_text(encoding="utf-8")
    file = tmp_path / "testScriptWithTypes.py"
    file.write_text("\n".join([stub, *machines, found["script"]]), encoding="utf-8")
    mypy = ["mypy", "--config-file=", "--ignore-missing-imports", "--follow-imports=silent"]
    for tool in (
        [*mypy, "--cache-dir", str(tmp_path)],
        ["ruff", "check", "--isolated", "--select=F"],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *tool, str(file)],
            capture_output=True,
            text=True,
            check=False,
            cwd=tmp_path,
            env={**os.environ, "MYPYPATH": str(nixos / "test-driver/src")},
        )
        assert done.returncode == 0, done.stdout + done.stderr

"""Nix for tests: parses where Nix is installed, evaluates where a nixpkgs is available."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.programs import needs_program

ROOT = Path(__file__).resolve().parents[2]
EVALUATE = ROOT / "tests/nix/evaluate.nix"
FILES = sorted(
    path
    for top in ("nixos", "hosts", "pkgs", "tests/nix", "tests/vm", "flake.nix")
    for path in ([ROOT / top] if top.endswith(".nix") else (ROOT / top).rglob("*.nix"))
)

VM_TESTS = sorted(
    path.stem for path in (ROOT / "tests/vm").glob("*.nix") if path.with_suffix(".py").exists()
)

needs_nix = needs_program("nix-instantiate", "nix-bin")


def _find_nixpkgs() -> str | None:
    """Return $BARNABEE_NIXPKGS, or the <nixpkgs> of NIX_PATH, or None."""
    named = os.environ.get("BARNABEE_NIXPKGS")
    if named or shutil.which("nix-instantiate") is None:
        return named
    done = run_nix_instantiate("--find-file", "nixpkgs", check=False)
    return done.stdout.strip() or None if done.returncode == 0 else None


def run_nix_instantiate(*arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    command = ["nix-instantiate", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=check, cwd=ROOT)


NIXPKGS = _find_nixpkgs()
needs_nixpkgs = pytest.mark.skipif(
    NIXPKGS is None,
    reason="no nixpkgs (BARNABEE_NIXPKGS or NIX_PATH)",
)


def try_evaluate(expression: str) -> subprocess.CompletedProcess[str]:
    """Evaluate `expression`, in which `hosts` is tests/nix/evaluate.nix."""
    whole = f"let hosts = import {EVALUATE} {{ nixpkgs = {NIXPKGS}; }}; in {expression}"
    # Evaluation must not build anything.
    pure = ("--option", "allow-import-from-derivation", "false")
    return run_nix_instantiate(*pure, "--eval", "--strict", "--json", "-E", whole, check=False)


def evaluate(expression: str) -> Any:
    """Return the value of `expression`; the test fails with Nix's error message."""
    done = try_evaluate(expression)
    if done.returncode:
        pytest.fail(done.stderr[-3000:])
    return json.loads(done.stdout)


@functools.cache
def report(host: str, extra: str = "{ }") -> Any:
    """Return the properties of a host with an additional module, as evaluate.nix has them."""
    return evaluate(f'hosts.report "{host}" ({extra})')

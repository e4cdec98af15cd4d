"""Nix and Python read the same graph out of system.toml."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.skipif(
    shutil.which("nix-instantiate") is None, reason="there is no nix-instantiate on this machine"
)
def test_both_readers_agree() -> None:
    path = ROOT / "system.toml"
    expression = f"builtins.fromTOML (builtins.readFile {path})"
    command = ["nix-instantiate", "--eval", "--strict", "--json", "--expr", expression]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == tomllib.loads(path.read_text(encoding="utf-8"))


def test_the_file_keeps_to_what_both_readers_know() -> None:
    """Nix's fromTOML loses floats' form and dates: there must be none."""
    stack: list[object] = [tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))]
    while stack:
        value = stack.pop()
        assert isinstance(value, (dict, list, str, int, bool)), value
        stack += value.values() if isinstance(value, dict) else ()
        stack += value if isinstance(value, list) else ()

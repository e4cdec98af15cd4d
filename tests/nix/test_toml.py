"""Nix and Python read the same graph out of system.toml."""

from __future__ import annotations

import json
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from barnabee.core import graph, system

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


@pytest.mark.skipif(
    shutil.which("nix-instantiate") is None, reason="there is no nix-instantiate on this machine"
)
def test_both_put_the_services_into_the_same_order() -> None:
    path = ROOT / "nixos/lib/system.nix"
    expression = f"""
        let
          graphs = import {path};
          read = graphs.load {ROOT / "system.toml"};
          filled = builtins.mapAttrs (_: one: {{ needs = [ ]; wants = [ ]; }} // one) read.service;
        in
        graphs.ordering (read // {{ service = filled; }})
    """
    command = ["nix-instantiate", "--eval", "--strict", "--json", "--expr", expression]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = system.load(ROOT / "system.toml").service
    assert json.loads(done.stdout) == graph.ordering(found)


def test_the_file_keeps_to_what_both_readers_know() -> None:
    """Nix's fromTOML loses floats' form and dates: there must be none."""
    stack: list[object] = [tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))]
    while stack:
        value = stack.pop()
        assert isinstance(value, (dict, list, str, int, bool)), value
        stack += value.values() if isinstance(value, dict) else ()
        stack += value if isinstance(value, list) else ()

"""system.toml: Nix and Python read the same graph."""

from __future__ import annotations

import json
import subprocess
import tomllib
from pathlib import Path

from barnabee.core import graph, system
from support.nix import needs_nix

ROOT = Path(__file__).resolve().parents[2]


@needs_nix
def test_nix_and_python_parse_the_same_values() -> None:
    path = ROOT / "system.toml"
    expression = f"builtins.fromTOML (builtins.readFile {path})"
    command = ["nix-instantiate", "--eval", "--strict", "--json", "--expr", expression]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) == tomllib.loads(path.read_text(encoding="utf-8"))


@needs_nix
def test_nix_and_python_compute_the_same_start_order() -> None:
    path = ROOT / "nixos/lib/system.nix"
    expression = f"""
        let
          graphLib = import {path};
          read = graphLib.loadFile {ROOT / "system.toml"};
          filled = builtins.mapAttrs (_: one: {{ needs = [ ]; wants = [ ]; }} // one) read.service;
        in
        graphLib.startOrder (read // {{ service = filled; }})
    """
    command = ["nix-instantiate", "--eval", "--strict", "--json", "--expr", expression]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = system.load_system(ROOT / "system.toml").service
    assert json.loads(done.stdout) == graph.compute_start_dependencies(found)


def test_file_has_only_types_that_both_readers_support() -> None:
    """Nix's fromTOML loses the form of floats, and dates."""
    stack: list[object] = [tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))]
    while stack:
        value = stack.pop()
        assert isinstance(value, (dict, list, str, int, bool)), value
        stack += value.values() if isinstance(value, dict) else ()
        stack += value if isinstance(value, list) else ()

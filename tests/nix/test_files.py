"""Nix files: syntax, style rules, system.schema.json and flake.lock."""

from __future__ import annotations

import importlib.util
import json
import re
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from support.nix import FILES, ROOT, needs_nix, run_nix_instantiate
from support.programs import needs_program

LOCK: dict[str, Any] = json.loads((ROOT / "flake.lock").read_text(encoding="utf-8"))


@needs_nix
def test_every_file_parses() -> None:
    assert len(FILES) > 40
    for path in FILES:
        done = run_nix_instantiate("--parse", str(path), check=False)
        assert done.returncode == 0, done.stderr


@needs_program("nixfmt", "nixfmt")
def test_every_file_is_formatted_by_nixfmt() -> None:
    done = subprocess.run(
        ["nixfmt", "--check", *map(str, FILES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_file_is_short_and_has_no_file_level_with(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    limit = {"flake.nix": 100, "default.nix": 200}.get(path.name, 200)
    if path.parent.parent.name == "hosts":
        limit = 60
    assert len(text.splitlines()) <= limit
    assert not re.search(r"^with ", text, re.MULTILINE)
    assert "\t" not in text


def test_profiles_set_defaults_only() -> None:
    for path in (ROOT / "nixos/profiles").glob("*.nix"):
        if path.name.startswith("form-"):
            continue
        text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
        settings = re.findall(r"^ +[a-z][\w.\"-]* =[ \n]+([^\s{\[][^\n]*)$", text, re.MULTILINE)
        inner = r"(\.\./|lib.mapAttrs|\")"  # let bindings, and values inside a default
        values = [value for value in settings if not re.match(inner, value)]
        assert not [value for value in values if "mkDefault" not in value and "mkIf" not in value]


def test_schema_file_is_up_to_date() -> None:
    script = ROOT / "scripts/system_schema.py"
    spec = importlib.util.spec_from_file_location("system_schema", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.TARGET.read_text(encoding="utf-8")
    assert found == module.render_schema(), "run PYTHONPATH=src python scripts/system_schema.py"


def test_lock_matches_the_inputs() -> None:
    assert LOCK["version"] == 7
    text = (ROOT / "flake.nix").read_text(encoding="utf-8")
    urls = dict(re.findall(r"^    ([\w-]+)\.url = \"github:([^\"]+)\"", text, re.MULTILINE))
    assert set(LOCK["nodes"]["root"]["inputs"]) == set(urls)
    for name, url in urls.items():
        owner, repo, *ref = url.split("/")
        original = LOCK["nodes"][name]["original"]
        assert (original["owner"], original["repo"]) == (owner, repo)
        assert original.get("ref") == (ref[0] if ref else None)


@needs_program("nix", "nix-bin")
def test_nix_accepts_the_lock_offline() -> None:
    features = "nix-command flakes"
    command = ["nix", "--extra-experimental-features", features, "flake", "metadata", "--offline"]
    done = subprocess.run(
        [*command, "--no-update-lock-file", "--json", str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["locks"]["nodes"].keys() == LOCK["nodes"].keys()


@pytest.mark.parametrize("name", sorted(set(LOCK["nodes"]) - {"root"}))
def test_locked_input_has_revision_and_hash(name: str) -> None:
    node = LOCK["nodes"][name]
    assert re.fullmatch(r"[0-9a-f]{40}", node["locked"]["rev"])
    assert re.fullmatch(r"sha256-[A-Za-z0-9+/]{43}=", node["locked"]["narHash"])
    assert node["locked"]["lastModified"] > 1_600_000_000
    for wanted in node.get("inputs", {}).values():
        assert _follow(wanted) in LOCK["nodes"], wanted


def _follow(wanted: str | list[str]) -> str:
    if isinstance(wanted, str):
        return wanted
    node = "root"
    for step in wanted:
        node = _follow(LOCK["nodes"][node]["inputs"][step])
    return node


def test_no_wheel_of_the_lock_has_a_build_number() -> None:
    """pkgs/python/lock.nix parses names and would take a build number for the Python tag."""
    lock = tomllib.loads((ROOT / "poetry.lock").read_text(encoding="utf-8"))
    names = [entry["file"] for package in lock["package"] for entry in package["files"]]
    wheels = [name for name in names if name.endswith(".whl")]
    assert len(wheels) > 500
    assert not [name for name in wheels if name.count("-") != 4]

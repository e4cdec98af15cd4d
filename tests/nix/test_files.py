"""Every Nix file parses and keeps to the rules of the house; the lock fits the inputs."""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import pytest

from support.nix import FILES, ROOT, needs_nix, run

LOCK: dict[str, Any] = json.loads((ROOT / "flake.lock").read_text(encoding="utf-8"))


@needs_nix
def test_every_file_parses() -> None:
    assert len(FILES) > 40
    for path in FILES:
        done = run("--parse", str(path), check=False)
        assert done.returncode == 0, done.stderr


@pytest.mark.skipif(shutil.which("nixfmt") is None, reason="there is no nixfmt on this machine")
def test_every_file_is_as_nixfmt_writes_it() -> None:
    done = subprocess.run(
        ["nixfmt", "--check", *map(str, FILES)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_files_are_short_and_say_where_names_come_from(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    limit = {"flake.nix": 100, "default.nix": 200}.get(path.name, 200)
    if path.parent.parent.name == "hosts":
        limit = 60
    assert len(text.splitlines()) <= limit
    assert not re.search(r"^with ", text, re.MULTILINE)
    assert "\t" not in text


def test_profiles_leave_the_last_word_to_the_hosts() -> None:
    for path in (ROOT / "nixos/profiles").glob("*.nix"):
        if path.name.startswith("form-"):
            continue
        text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
        settings = re.findall(r"^ +[a-z][\w.\"-]* =[ \n]+([^\s{\[][^\n]*)$", text, re.MULTILINE)
        inner = r"(\.\./|lib.mapAttrs|\")"  # a name of its own, and what stands in a default
        said = [value for value in settings if not re.match(inner, value)]
        assert not [value for value in said if "mkDefault" not in value and "mkIf" not in value]


def test_the_modules_schema_is_that_of_the_tables() -> None:
    script = ROOT / "scripts/system_schema.py"
    spec = importlib.util.spec_from_file_location("system_schema", script)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = module.TARGET.read_text(encoding="utf-8")
    assert found == module.text(), "run PYTHONPATH=src python scripts/system_schema.py"


def test_the_lock_is_whole_and_fits_the_inputs() -> None:
    assert LOCK["version"] == 7
    text = (ROOT / "flake.nix").read_text(encoding="utf-8")
    urls = dict(re.findall(r"^    ([\w-]+)\.url = \"github:([^\"]+)\"", text, re.MULTILINE))
    assert set(LOCK["nodes"]["root"]["inputs"]) == set(urls)
    for name, url in urls.items():
        owner, repo, *ref = url.split("/")
        original = LOCK["nodes"][name]["original"]
        assert (original["owner"], original["repo"]) == (owner, repo)
        assert original.get("ref") == (ref[0] if ref else None)


@pytest.mark.skipif(shutil.which("nix") is None, reason="there is no nix on this machine")
def test_nix_accepts_the_lock_without_asking_anybody() -> None:
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
def test_a_locked_input_names_one_revision_by_its_hash(name: str) -> None:
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


def test_every_wheel_of_the_lock_has_a_name_that_the_packages_can_read() -> None:
    """pkgs/python/lock.nix takes names apart; a build number would be taken for a Python."""
    lock = tomllib.loads((ROOT / "poetry.lock").read_text(encoding="utf-8"))
    names = [entry["file"] for package in lock["package"] for entry in package["files"]]
    wheels = [name for name in names if name.endswith(".whl")]
    assert len(wheels) > 500
    assert not [name for name in wheels if name.count("-") != 4]

"""Requirement files agree with pyproject.toml and poetry.lock, on every supported Python."""

from __future__ import annotations

import hashlib
import json
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from packaging.markers import Marker, default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
# file -> extras, groups
EXPORTS: dict[str, tuple[set[str], set[str]]] = {
    "default.txt": ({"local"}, {"main"}),
    "dev.txt": ({"local"}, {"main", "dev"}),
    "gpu.txt": ({"gpu"}, {"main"}),
    "node.txt": ({"node"}, set()),
}
PYTHONS = ("3.11", "3.12", "3.13")
NIX_PYTHON = ">=3.11,<3.12"  # the lock is resolved for it alone
UPDATE = "run scripts/lock-requirements.sh"
Table = dict[str, Any]


@cache
def tool(name: str) -> Table:
    """Return the table [tool.NAME] of pyproject.toml."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    table: Table = tomllib.loads(text)["tool"][name]
    return table


def project() -> Table:
    return tool("poetry")


@cache
def lock() -> Table:
    return tomllib.loads((ROOT / "poetry.lock").read_text(encoding="utf-8"))


@cache
def locked(name: str) -> list[Table]:
    return [one for one in lock()["package"] if canonicalize_name(one["name"]) == name]


@cache
def exported(file: str, python: str = "3.11") -> dict[str, tuple[str, frozenset[str]]]:
    """Return name -> (version, hashes) of the requirements that apply to a version of Python."""
    environment = environment_of(python)
    text = (ROOT / "requirements" / file).read_text(encoding="utf-8").replace("\\\n", " ")
    found = {}
    for line in text.splitlines():
        requirement = Requirement(line.split("--hash", 1)[0].strip())
        if requirement.marker is None or requirement.marker.evaluate(environment):
            hashes = frozenset(re.findall(r"--hash=(sha256:[0-9a-f]+)", line))
            version = str(requirement.specifier).removeprefix("==")
            found[canonicalize_name(requirement.name)] = (version, hashes)
    return found


@cache
def environment_of(python: str) -> dict[str, str]:
    versions = {"python_version": python, "python_full_version": f"{python}.9"}
    return {name: str(value) for name, value in default_environment().items()} | versions


def asked(group: str) -> Table:
    """Return what pyproject.toml asks for in `group`: name -> version or table."""
    if group == "main":
        return {name: spec for name, spec in project()["dependencies"].items() if name != "python"}
    found: Table = project()["group"][group]["dependencies"]
    return found


def wanted(extras: set[str], groups: set[str]) -> set[str]:
    """Return the names of the closure of what pyproject.toml asks for, by walking the lock."""
    chosen = {canonicalize_name(name) for extra in extras for name in project()["extras"][extra]}
    excluded = set(tool("uv")["exclude-dependencies"])
    queue = [] if groups else [(name, frozenset[str]()) for name in chosen]
    for name, spec in [item for group in groups for item in asked(group).items()]:
        table = spec if isinstance(spec, dict) else {}
        if not table.get("optional") or canonicalize_name(name) in chosen:
            queue.append((canonicalize_name(name), frozenset(table.get("extras", []))))
    seen: set[tuple[str, frozenset[str]]] = set()
    while queue:
        item = queue.pop()
        if item not in seen and item[0] not in excluded and locked(item[0]):
            seen.add(item)
            queue += [one for package in locked(item[0]) for one in needs(package, item[1])]
    return {name for name, _ in seen}


def needs(package: Table, extras: frozenset[str]) -> list[tuple[str, frozenset[str]]]:
    found = []
    by_extra = {
        canonicalize_name(Requirement(text).name)
        for extra in extras
        for text in package.get("extras", {}).get(extra, [])
    }
    for name, spec in package.get("dependencies", {}).items():
        for table in spec if isinstance(spec, list) else [spec]:
            options = table if isinstance(table, dict) else {}
            canonical = canonicalize_name(name)
            if options.get("optional") and canonical not in by_extra:
                continue
            marker = re.sub(r"(and|or)?\s*extra == \"[^\"]+\"", "", options.get("markers", ""))
            if (
                not marker.strip()
                or options.get("optional")
                or Marker(marker).evaluate(environment_of("3.11"))
            ):
                found.append((canonical, frozenset(options.get("extras", []))))
    return found


def test_the_lock_has_a_version_that_poetry2nix_reads() -> None:
    assert lock()["metadata"]["lock-version"] == "2.0"


def test_the_lock_was_made_from_this_pyproject() -> None:
    relevant: Table = {
        key: project().get(key) for key in ("dependencies", "source", "extras", "dev-dependencies")
    }
    relevant["dependencies"] = relevant["dependencies"] | {"python": NIX_PYTHON}
    relevant["group"] = project()["group"]
    digest = hashlib.sha256(json.dumps(relevant, sort_keys=True).encode()).hexdigest()
    assert lock()["metadata"]["content-hash"] == digest, UPDATE


@pytest.mark.parametrize("file", EXPORTS)
def test_every_requirement_is_the_locked_one_with_its_hashes(file: str) -> None:
    for name, (version, hashes) in exported(file).items():
        files = {
            entry["hash"]
            for package in locked(name)
            if package["version"] == version
            for entry in package["files"]
        }
        assert files, f"{name} {version} is not in the lock: {UPDATE}"
        assert files <= hashes, f"{name} differs: {UPDATE}"


@pytest.mark.parametrize("file", EXPORTS)
def test_nothing_is_missing_and_nothing_is_left_over(file: str) -> None:
    assert set(exported(file)) == wanted(*EXPORTS[file]), UPDATE


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("file", ["default.txt", "dev.txt"])
def test_a_list_names_the_same_packages_for_each_python(file: str, python: str) -> None:
    only_before_3_12 = {"wait-for2"}
    only_since_3_13 = {"audioop-lts"}
    expected = set(exported(file)) - only_before_3_12 - only_since_3_13
    found = exported(file, python)
    assert set(found) - only_before_3_12 - only_since_3_13 == expected
    assert ("audioop-lts" in found) == (python == "3.13")
    assert all(hashes for _, hashes in found.values())


def test_the_default_set_has_no_torch() -> None:
    names = exported("default.txt").keys()
    cuda = {name for name in names if name == "torch" or name.startswith("nvidia")}
    assert cuda == {"nvidia-ml-py"}  # a small pure-Python package, no CUDA


def test_the_gpu_set_has_what_cuda_engines_need() -> None:
    assert {"torch", "sentence-transformers", "kokoro", "onnx-asr"} <= exported("gpu.txt").keys()


def test_the_wheels_of_the_gpu_set_have_one_cuda_version() -> None:
    """torch, CTranslate2 and onnxruntime-gpu load the same libraries in one process."""
    cuda = {name: version for name, (version, _) in exported("gpu.txt").items() if "-cu1" in name}
    assert len(cuda) > 10
    (major,) = {name.rpartition("-cu")[2] for name in cuda}
    toolkit = ("cuda-cupti", "cuda-nvrtc", "cuda-runtime", "nvjitlink", "nvtx")
    versions = {cuda[f"nvidia-{name}-cu{major}"].rpartition(".")[0] for name in toolkit}
    assert len(versions) == 1
    assert versions.pop().partition(".")[0] == major
    gpu = tomllib.loads((ROOT / "pkgs/python/gpu.toml").read_text(encoding="utf-8"))["package"][0]
    version, hashes = exported(f"onnxruntime-gpu-cuda{major}.txt")[gpu["name"]]
    assert version == gpu["version"]
    assert {entry["hash"] for entry in gpu["files"]} <= hashes


def test_no_registry_is_named() -> None:
    assert not [one["name"] for one in lock()["package"] if "source" in one]
    for path in (ROOT / "requirements").iterdir():
        text = path.read_text(encoding="utf-8")
        assert not re.search(
            r"^\s*(-i|-f|--(extra-)?index-url|--find-links)\b", text, re.MULTILINE
        ), path

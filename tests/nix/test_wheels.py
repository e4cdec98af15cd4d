"""Files that Nix selects from poetry.lock: those that pip installs on the same platform."""

from __future__ import annotations

import re
import tomllib

import pytest
from packaging.markers import Marker, default_environment
from packaging.tags import compatible_tags, cpython_tags
from packaging.utils import parse_wheel_filename

from support.nix import ROOT, evaluate, needs_nixpkgs

pytestmark = needs_nixpkgs
OLD_NAMES = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
# manylinux_2_40 down to _2_5, each followed by its older name.
PLATFORMS = [
    f"{name}_x86_64"
    for minor in range(40, 4, -1)
    for name in (f"manylinux_2_{minor}", OLD_NAMES.get(minor))
    if name
]
TAGS = [
    *cpython_tags((3, 11), platforms=PLATFORMS),
    *compatible_tags((3, 11), "cp311", platforms=PLATFORMS),
]
MACHINE = {
    **default_environment(),
    "python_version": "3.11",
    "python_full_version": "3.11.15",
    "platform_machine": "x86_64",
    "platform_system": "Linux",
    "sys_platform": "linux",
}


def wanted(file: str) -> set[str]:
    lines = (ROOT / "requirements" / file).read_text(encoding="utf-8").splitlines()
    found = set()
    for line in lines:
        entry = re.match(r"([a-z0-9-]+)(?:\[.*?\])?==\S+(?: ; (.+?))? \\$", line)
        if entry and (entry[2] is None or Marker(entry[2]).evaluate(MACHINE)):
            found.add(entry[1])
    return found


def list_locked_files(name: str) -> list[str]:
    locks = [ROOT / "poetry.lock", ROOT / "pkgs/python/gpu.toml"]
    packages = [
        package
        for lock in locks
        for package in tomllib.loads(lock.read_text(encoding="utf-8"))["package"]
    ]
    (found,) = (package for package in packages if package["name"] == name)
    return [entry["file"] for entry in found["files"]]


def pip_rank(wheel: str) -> int:
    """Return the position of the wheel's best tag in pip's order; lower is better."""
    tags = parse_wheel_filename(wheel)[3]
    return min((TAGS.index(tag) for tag in tags if tag in TAGS), default=len(TAGS))


@pytest.mark.parametrize("file", ["default.txt", "dev.txt", "gpu.txt"])
def test_selected_files_are_those_that_pip_selects(file: str) -> None:
    found = evaluate(f'hosts.wheels "{file}"')
    assert set(found) == wanted(file)
    for name, selected in found.items():
        wheels = [one for one in list_locked_files(name) if one.endswith(".whl")]
        ranks = {wheel: pip_rank(wheel) for wheel in wheels}
        if selected.endswith(".tar.gz"):
            assert name == "docopt"
            assert set(ranks.values()) <= {len(TAGS)}
            continue
        assert ranks[selected] < len(TAGS), selected
        assert ranks[selected] == min(ranks.values()), selected


def test_overlay_replaces_nixpkgs_packages_by_those_of_the_lock() -> None:
    lock = tomllib.loads((ROOT / "poetry.lock").read_text(encoding="utf-8"))
    locked = {package["name"]: package["version"] for package in lock["package"]}
    names = ("arq", "fastapi", "kokoro", "pipecat-ai", "redis", "sentence-transformers", "torch")
    found = evaluate("hosts.versions [ " + " ".join(f'"{name}"' for name in names) + " ]")
    assert found == {name: locked[name] for name in names}

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
GLIBC = range(40, 4, -1)  # manylinux_2_40 down to _2_5
PLATFORMS = [f"manylinux_2_{minor}_x86_64" for minor in GLIBC] + [
    "manylinux2014_x86_64",
    "manylinux2010_x86_64",
    "manylinux1_x86_64",
    "linux_x86_64",
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


@pytest.mark.parametrize("file", ["default.txt", "dev.txt", "gpu.txt"])
def test_selected_packages_are_those_of_pip_with_compatible_tags(file: str) -> None:
    found = evaluate(f'hosts.wheels "{file}"')
    assert set(found) == wanted(file)
    for name, wheel in found.items():
        if wheel.endswith(".tar.gz"):
            assert name == "docopt"
            continue
        assert parse_wheel_filename(wheel)[3] & set(TAGS), wheel


def test_overlay_replaces_nixpkgs_packages_by_those_of_the_lock() -> None:
    lock = tomllib.loads((ROOT / "poetry.lock").read_text(encoding="utf-8"))
    locked = {package["name"]: package["version"] for package in lock["package"]}
    names = ("arq", "fastapi", "kokoro", "pipecat-ai", "redis", "sentence-transformers", "torch")
    found = evaluate("hosts.versions [ " + " ".join(f'"{name}"' for name in names) + " ]")
    assert found == {name: locked[name] for name in names}

"""The check phase of pkgs/barnabee as in a build: no model, network, home or development tool."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
RECIPE = (ROOT / "pkgs/barnabee/default.nix").read_text(encoding="utf-8")
# Imported by every Python process of the run.
SITE = """
import sys

LOOPBACK = ("127.", "::1", "localhost")
sys.modules.update(dict.fromkeys(["grimp", "jsonschema", "mypy", "onnx", "playwright"]))


def refuse_network(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo"):
        address = arguments[1] if event == "socket.connect" else arguments[0]
        host = address[0] if isinstance(address, tuple) else address
        if isinstance(address, tuple) or event == "socket.getaddrinfo":
            if host and not str(host).startswith(LOOPBACK):
                raise PermissionError(f"no network in a build: {host}")


sys.addaudithook(refuse_network)
"""


def copy_sources(target: Path) -> list[str]:
    """Copy the files that the recipe names; return the folders of its tests."""
    folders = re.findall(r'^ +"(tests/unit/\w+)"$', RECIPE, re.MULTILINE)
    assert folders
    for name in [*re.findall(r'^ +\(root \+ "/([\w./]+)"\)$', RECIPE, re.MULTILINE), *folders]:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / name, target / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, target / name)
    return folders


@pytest.mark.timeout(1200)
def test_the_checks_of_the_package_need_nothing_but_the_package(tmp_path: Path) -> None:
    build, site = tmp_path / "build", tmp_path / "site"
    folders = copy_sources(build)
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE, encoding="utf-8")
    own = {"PYTHONPATH": str(site), "HOME": "/homeless-shelter", "LC_ALL": "C.UTF-8"}
    options = re.findall(r"(?<= )--(?:ignore|hypothesis-seed)=\S+", RECIPE)
    assert len(options) == 2
    pytest_command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
    done = subprocess.run(
        [*pytest_command, "-p", "no:xdist", *options, *folders],
        cwd=build,
        env=own | {"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout[-6000:])
    assert done.returncode == 0, done.stderr[-2000:]
    assert "skipped" not in done.stdout.splitlines()[-1]

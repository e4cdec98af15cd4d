"""Files of a service: each has the name of its service."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from barnabee.core import system
from barnabee.core.schema import ServiceConfig

ROOT = Path(__file__).resolve().parents[2]
GRAPH = system.load_system(ROOT / "system.toml")
OWN = {name: node for name, node in GRAPH.service.items() if node.module}


@pytest.mark.parametrize("name", OWN)
def test_our_own_service_has_its_package_entry_point_and_tests(name: str) -> None:
    package = str(OWN[name].module).removeprefix("barnabee.")
    for part in ("__main__.py", "app.py"):
        assert (ROOT / "src/barnabee" / package / part).is_file(), part
    assert any((ROOT / "tests/unit" / package).glob("test_*.py"))


@pytest.mark.parametrize("name", GRAPH.nodes())
def test_every_service_has_its_page_of_documentation(name: str) -> None:
    text = (ROOT / "docs/services.md").read_text(encoding="utf-8")
    section = re.search(rf"^## {name}$(.+?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    assert section, f"docs/services.md has no section {name}"
    assert len(section[1].split()) > 30


@pytest.mark.parametrize("name", GRAPH.service)
def test_every_service_has_its_module(name: str) -> None:
    module = ROOT / "nixos/modules/services" / f"{name}.nix"
    assert f'mkService "{name}"' in module.read_text(encoding="utf-8")
    imports = (ROOT / "nixos/modules/default.nix").read_text(encoding="utf-8")
    assert "filesOf ./services" in imports


@pytest.mark.parametrize(("name", "node"), GRAPH.nodes().items())
def test_every_daemon_can_be_asked_for_its_health(name: str, node: ServiceConfig) -> None:
    assert node.kind == "oneshot" or node.port


def test_every_direct_dependency_has_its_licence_recorded() -> None:
    text = (ROOT / "docs/licences.md").read_text(encoding="utf-8")
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    tables = re.findall(
        r"\[tool\.poetry\.(?:group\.dev\.)?dependencies\](.+?)\n\[", project, re.DOTALL
    )
    names = {
        name for table in tables for name in re.findall(r"^([A-Za-z0-9-]+) =", table, re.MULTILINE)
    }
    missing = {name for name in names - {"python"} if not re.search(rf"\b{name}\b", text)}
    assert len(names) > 20
    assert not missing

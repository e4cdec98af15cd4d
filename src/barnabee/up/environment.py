"""A virtual environment of pinned, hash-checked packages, made once: Home Assistant's.

Home Assistant must not share packages with BarnabeeNet, so it lives in an environment of its own
in the cache. A finished one holds a mark; one without is made anew.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from barnabee.core.errors import SetUpFailed

_MARK = ".complete"
_LOOK_EVERY_S = 0.5


def complete(directory: Path) -> bool:
    """Return whether the environment is finished."""
    return (directory / _MARK).is_file()


async def ensure(directory: Path, requirements: Path, report: Callable[[int], None]) -> None:
    """Make the environment unless it is there; `report` gets how many bytes it holds so far.

    Raises SetUpFailed with the last line of what failed.
    """
    await asyncio.to_thread(directory.parent.mkdir, parents=True, exist_ok=True)
    async with _lock(directory.with_name(f".{directory.name}.lock")):
        if await asyncio.to_thread(complete, directory):
            return
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        watcher = asyncio.create_task(_watch(directory, report))
        try:
            await _make(directory, requirements)
        finally:
            watcher.cancel()
            with suppress(asyncio.CancelledError):
                await watcher
        await asyncio.to_thread((directory / _MARK).touch)


async def _make(directory: Path, requirements: Path) -> None:
    await _must(directory, sys.executable, "-m", "venv", str(directory))
    pip = (str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet")
    await _must(directory, *pip, "--no-deps", "--require-hashes", "-r", str(requirements))


async def _must(directory: Path, *command: str) -> None:
    # A run's own paths must not leak into another environment.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        process.kill()
        await process.wait()
        raise
    if process.returncode:
        lines = output.decode(errors="replace").strip().splitlines() or ["it gave no reason"]
        hint = "look at the network and the package index, then try again"
        raise SetUpFailed(what=f"the environment {directory}", reason=lines[-1], hint=hint)


async def _watch(directory: Path, report: Callable[[int], None]) -> None:
    while True:
        report(await asyncio.to_thread(size_bytes, directory))
        await asyncio.sleep(_LOOK_EVERY_S)


def size_bytes(directory: Path) -> int:
    """Return how many bytes the files below `directory` hold."""
    total = 0
    for path in directory.rglob("*"):
        with suppress(OSError):  # moved while we look
            total += path.lstat().st_size
    return total


@asynccontextmanager
async def _lock(path: Path) -> AsyncIterator[None]:
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        await asyncio.to_thread(fcntl.flock, handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)

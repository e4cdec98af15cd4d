"""Debian packages, for a machine where this process may install them.

Installs a program and never its service: Debian starts a server when it installs it, and that
server would sit on our port.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from barnabee.core.errors import SetUpFailed

_POLICY = Path("/usr/sbin/policy-rc.d")
_FORBID = (
    "#!/bin/sh\n# Written by barnabee for one apt-get run: no service is to be started.\nexit 101\n"
)


def possible() -> bool:
    """Return whether packages can be installed here: by root, with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def download_bytes(uris: str) -> int:
    """Return the sum of the sizes in what `apt-get --print-uris` printed. Pure."""
    fields = (line.split() for line in uris.splitlines() if line.startswith("'"))
    return sum(int(field[2]) for field in fields if len(field) > 2 and field[2].isdecimal())  # noqa: PLR2004


async def install(package: str, tell: Callable[[str], None]) -> None:
    """Install `package` without starting its service; SetUpFailed with apt's last line."""
    listed = ("--print-uris", "-qq", "install", "--no-install-recommends", package)
    status, uris = await _apt(*listed)
    if status:
        tell("apt: reading the package lists")
        await _must(package, "-qq", "update")
        _, uris = await _apt(*listed)
    tell(f"apt: installing {package} ({download_bytes(uris) / 1e6:.1f} MB)")
    async with _no_services_started():
        await _must(package, "-qq", "-y", "install", "--no-install-recommends", package)
    if shutil.which("systemctl"):  # fails harmlessly where systemd is not in charge
        await _run("systemctl", "disable", "--now", package)


@asynccontextmanager
async def _no_services_started() -> AsyncIterator[None]:
    """Answer Debian's question whether services may be started (invoke-rc.d(8)) with no."""
    mine = not await asyncio.to_thread(_POLICY.exists)
    if mine:
        await asyncio.to_thread(_forbid)
    try:
        yield
    finally:
        if mine:
            await asyncio.to_thread(_POLICY.unlink, missing_ok=True)


def _forbid() -> None:
    _POLICY.write_text(_FORBID, encoding="utf-8")
    _POLICY.chmod(0o755)


async def _must(package: str, *arguments: str) -> None:
    status, output = await _apt(*arguments)
    if status:
        lines = output.strip().splitlines() or [f"apt-get ended with {status}"]
        hint = f"install the Debian package {package} yourself"
        raise SetUpFailed(what=package, reason=lines[-1], hint=hint)


async def _apt(*arguments: str) -> tuple[int, str]:
    return await _run("apt-get", *arguments)


async def _run(*command: str) -> tuple[int, str]:
    process = await asyncio.create_subprocess_exec(
        *command,
        env=os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode(errors="replace")

"""Installed software: Debian packages, programs on PATH and Home Assistant's virtual environment.

apt installs a program but never starts its service, which would occupy the port of ours. Home
Assistant must not share packages with BarnabeeNet, so it has a virtual environment in the cache.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager, suppress
from pathlib import Path

from barnabee.core.errors import SettingMissing, SetupFailed, Unavailable
from barnabee.core.files import lock_file

_POLICY_FILE = Path("/usr/sbin/policy-rc.d")  # invoke-rc.d(8): may a service be started?
_DENY_START = (
    "#!/bin/sh\n# Written by barnabee for one apt-get run: no service is to be started.\nexit 101\n"
)
_COMPLETE_MARKER = ".complete"
_REPORT_EVERY_S = 0.5
_LOCK_POLL_S = 0.25


def find_program(*names: str) -> str:
    """Return the first of `names` in this Python's environment or on PATH, or SettingMissing."""
    own_directory = str(Path(sys.executable).parent)
    for name in names:
        found = shutil.which(name, path=own_directory) or shutil.which(name)
        if found:
            return found
    raise SettingMissing(name=names[0], hint="install it, or start with ./barnabee, which does")


# ---- Debian packages ----------------------------------------------------------------------------


def can_install_packages() -> bool:
    """Return whether this process is root on a machine with apt."""
    return os.geteuid() == 0 and shutil.which("apt-get") is not None


def parse_download_bytes(uris: str) -> int:
    """Return the sum of the sizes in the output of `apt-get --print-uris`."""
    fields = (line.split() for line in uris.splitlines() if line.startswith("'"))
    return sum(int(field[2]) for field in fields if len(field) > 2 and field[2].isdecimal())  # noqa: PLR2004


async def install_package(package: str, print_line: Callable[[str], None]) -> None:
    """Install `package` without starting its service; SetupFailed with apt's last line."""
    listed = ("--print-uris", "-qq", "install", "--no-install-recommends", package)
    status, uris = await _run_apt(*listed)
    if status:
        print_line("apt: reading the package lists")
        await _require_apt(package, "-qq", "update")
        _, uris = await _run_apt(*listed)
    print_line(f"apt: installing {package} ({parse_download_bytes(uris) / 1e6:.1f} MB)")
    async with _deny_service_starts():
        await _require_apt(package, "-qq", "-y", "install", "--no-install-recommends", package)
    if shutil.which("systemctl"):  # fails harmlessly where systemd is not the init system
        await _run("systemctl", "disable", "--now", package, environment=_apt_environment())


@asynccontextmanager
async def _deny_service_starts() -> AsyncIterator[None]:
    is_ours = not await asyncio.to_thread(_POLICY_FILE.exists)
    if is_ours:
        await asyncio.to_thread(_write_policy)
    try:
        yield
    finally:
        if is_ours:
            await asyncio.to_thread(_POLICY_FILE.unlink, missing_ok=True)


def _write_policy() -> None:
    _POLICY_FILE.write_text(_DENY_START, encoding="utf-8")
    _POLICY_FILE.chmod(0o755)


async def _require_apt(package: str, *arguments: str) -> None:
    status, output = await _run_apt(*arguments)
    if status:
        lines = output.strip().splitlines() or [f"apt-get ended with {status}"]
        hint = f"install the Debian package {package} yourself"
        raise SetupFailed(what=package, reason=lines[-1], hint=hint)


async def _run_apt(*arguments: str) -> tuple[int, str]:
    return await _run("apt-get", *arguments, environment=_apt_environment())


def _apt_environment() -> dict[str, str]:
    return os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


# ---- the virtual environment of Home Assistant --------------------------------------------------


def is_venv_complete(directory: Path) -> bool:
    return (directory / _COMPLETE_MARKER).is_file()


async def ensure_venv(directory: Path, requirements: Path, report: Callable[[int], None]) -> None:
    """Create the environment of hash-checked packages unless it is complete.

    `report` gets its size in bytes while it grows. Raises SetupFailed with pip's last line.
    """
    await asyncio.to_thread(directory.parent.mkdir, parents=True, exist_ok=True)
    async with hold_lock(directory.with_name(f".{directory.name}.lock"), mode=0o600):
        if await asyncio.to_thread(is_venv_complete, directory):
            return
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        reporter = asyncio.create_task(_report_size(directory, report))
        try:
            await _create_venv(directory, requirements)
        finally:
            reporter.cancel()
            with suppress(asyncio.CancelledError):
                await reporter
        await asyncio.to_thread((directory / _COMPLETE_MARKER).touch)


async def _create_venv(directory: Path, requirements: Path) -> None:
    await _require_python(directory, sys.executable, "-m", "venv", str(directory))
    pip = (str(directory / "bin" / "python"), "-m", "pip", "install", "--quiet")
    await _require_python(directory, *pip, "--no-deps", "--require-hashes", "-r", str(requirements))


async def _require_python(directory: Path, *command: str) -> None:
    # This run's own paths must not leak into another environment.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    status, output = await _run(*command, environment=environment, kill_on_cancel=True)
    if status:
        lines = output.strip().splitlines() or ["it gave no reason"]
        hint = "check the network and the package index, then try again"
        raise SetupFailed(what=f"the environment {directory}", reason=lines[-1], hint=hint)


async def _report_size(directory: Path, report: Callable[[int], None]) -> None:
    while True:
        report(await asyncio.to_thread(measure_size_bytes, directory))
        await asyncio.sleep(_REPORT_EVERY_S)


def measure_size_bytes(directory: Path) -> int:
    """Return the size of all files below `directory`."""
    total = 0
    for path in directory.rglob("*"):
        with suppress(OSError):  # moved or deleted meanwhile
            total += path.lstat().st_size
    return total


@asynccontextmanager
async def hold_lock(path: Path, mode: int) -> AsyncIterator[None]:
    """Hold an exclusive lock on `path`; waits by polling, so that waiting can be cancelled."""
    with ExitStack() as stack:
        while True:
            try:
                taken = Unavailable(what=f"{path} is locked")
                stack.enter_context(lock_file(path, mode=mode, if_taken=taken))
                break
            except Unavailable:
                await asyncio.sleep(_LOCK_POLL_S)
        yield


async def _run(
    *command: str, environment: dict[str, str], kill_on_cancel: bool = False
) -> tuple[int, str]:
    """Return exit status and output. apt is not killed: that would leave dpkg half configured."""
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
        if kill_on_cancel:
            process.kill()
            await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace")

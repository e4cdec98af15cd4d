"""Installed software: Debian packages, programs on PATH, and directories in the cache.

apt installs a program but never starts its service, which would occupy the port of ours.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import shutil
import signal
import sys
import time
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
_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


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
    # apt refuses to work after an installation was interrupted, as by a power cut.
    await run("dpkg", "--configure", "-a", environment=_apt_environment())
    listed = ("--print-uris", "-qq", "install", "--no-install-recommends", package)
    status, uris = await _run_apt(*listed)
    if status:
        print_line("apt: reading the package lists")
        await _require_apt(package, "-qq", "update")
        _, uris = await _run_apt(*listed)
    size = parse_download_bytes(uris)
    print_line(f"apt: installing {package}" + (f" ({size / 1e6:.1f} MB)" if size else ""))
    async with _deny_service_starts():
        await _require_apt(package, "-qq", "-y", "install", "--no-install-recommends", package)
    if shutil.which("systemctl"):  # fails harmlessly where systemd is not the init system
        await run("systemctl", "disable", "--now", package, environment=_apt_environment())


@asynccontextmanager
async def _deny_service_starts() -> AsyncIterator[None]:
    is_ours = await asyncio.to_thread(_write_policy)
    try:
        yield
    finally:
        if is_ours:
            await asyncio.to_thread(_POLICY_FILE.unlink, missing_ok=True)


def _write_policy() -> bool:
    """Return False when there is a policy that is not ours; that of a killed run is ours."""
    if _POLICY_FILE.exists():
        return _POLICY_FILE.read_text(encoding="utf-8", errors="replace") == _DENY_START
    _POLICY_FILE.write_text(_DENY_START, encoding="utf-8")
    _POLICY_FILE.chmod(0o755)
    return True


async def _require_apt(package: str, *arguments: str) -> None:
    status, output = await _run_apt(*arguments)
    if status:
        lines = output.strip().splitlines() or [f"apt-get ended with {status}"]
        hint = f"install the Debian package {package} yourself"
        raise SetupFailed(what=package, reason=lines[-1], hint=hint)


async def _run_apt(*arguments: str) -> tuple[int, str]:
    return await run("apt-get", *arguments, environment=_apt_environment())


def _apt_environment() -> dict[str, str]:
    return os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}


# ---- package indexes ----------------------------------------------------------------------------


def make_index_environment() -> dict[str, str]:
    """Return the environment for uv and npm: with the index, proxy and certificate of pip.

    `./barnabee` has written pip's settings into the environment's directory.
    """
    # This run's own paths must not leak into another environment.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment.setdefault("UV_HTTP_TIMEOUT", "120")
    settings, certificate = Path(sys.prefix) / "uv.toml", Path(sys.prefix) / "ca.pem"
    if settings.is_file():
        environment.setdefault("UV_CONFIG_FILE", str(settings))
    if certificate.is_file():
        environment.setdefault("SSL_CERT_FILE", str(certificate))
        environment.setdefault("NODE_EXTRA_CA_CERTS", str(certificate))
    return environment


# ---- directories in the cache -------------------------------------------------------------------


def is_complete(directory: Path) -> bool:
    """Return whether `mark_complete` was called for a directory."""
    return (directory / _COMPLETE_MARKER).is_file()


def mark_complete(directory: Path) -> None:
    """Tell later runs that nothing of the directory is missing."""
    (directory / _COMPLETE_MARKER).touch()


@asynccontextmanager
async def report_size(directory: Path, report: Callable[[int], None]) -> AsyncIterator[None]:
    """Report the size of a growing directory in bytes during the block."""
    reporter = asyncio.create_task(_report_size(directory, report))
    try:
        yield
    finally:
        reporter.cancel()
        with suppress(asyncio.CancelledError):
            await reporter


async def _report_size(directory: Path, report: Callable[[int], None]) -> None:
    while True:
        begun_s = time.monotonic()
        report(await asyncio.to_thread(measure_size_bytes, directory))
        # Tens of thousands of files take a while to count: at most a tenth of the time.
        await asyncio.sleep(max(_REPORT_EVERY_S, 9 * (time.monotonic() - begun_s)))


def measure_size_bytes(directory: Path) -> int:
    """Return the size of all files below `directory`."""
    total = 0
    for parent, _, names in os.walk(directory):
        for name in names:
            with suppress(OSError):  # moved or deleted meanwhile
                total += os.lstat(os.path.join(parent, name)).st_size  # noqa: PTH118 - many files
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


def _die_with_parent() -> None:
    """Let the kernel kill this process when its parent was killed: the next run starts anew."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def run(
    *command: str, environment: dict[str, str], kill_on_cancel: bool = False
) -> tuple[int, str]:
    """Return exit status and output.

    A command that changes the machine's packages must not be killed: dpkg would be half configured.
    """
    process = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        preexec_fn=_die_with_parent if kill_on_cancel else None,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        if kill_on_cancel:
            process.kill()
            await process.wait()
        raise
    return process.returncode or 0, output.decode(errors="replace")

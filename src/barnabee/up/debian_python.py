"""Python 3.13: the machine's own, or Debian 13's packages, unpacked into the cache.

apt works in a directory of its own, so that no root is needed and the machine's packages stay as
they are; it checks the signatures with the keyring of Debian's archive. The interpreter is started
through the C library that it was built for.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from string import Template

from barnabee.core.errors import SetupFailed
from barnabee.up import packages, paths

VERSION = "3.13"
VERSION_MIN = (3, 13, 2)
_SUITE = "trixie"
_PACKAGES = ("python3.13", "libstdc++6")  # compiled wheels need the second
_KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
_KEYRING_PACKAGE = "debian-archive-keyring"
_MIRROR = "http://deb.debian.org/debian"  # where the machine has no mirror of Debian configured
_SOURCE = """\
Types: deb
URIs: {mirror}
Suites: {suite}
Components: main
Signed-By: {keyring}
"""
_TIMEOUT_S = 20  # of one connection; a mirror that does not answer must not hold up the start
# Python finds its library beside an executable of this name; $$0 keeps a virtual environment's.
_WRAPPER = Template("""\
#!/bin/sh
exec $loader --argv0 "$$0" --library-path $libraries $python "$$@"
""")
_CHECK = "import bz2, ctypes, lzma, sqlite3, ssl, sys, venv; print(*sys.version_info[:3])"

# Called with the bytes done and the total bytes.
Report = Callable[[int, int], None]


def python_directory() -> Path:
    """Return where the packages are unpacked."""
    return paths.cache_directory() / f"python-{VERSION}-{_SUITE}"


def find_python() -> Path | None:
    """Return the unpacked interpreter if it is complete."""
    directory = python_directory()
    return _interpreter(directory) if packages.is_complete(directory) else None


def find_installed_python() -> Path | None:
    """Return the machine's own interpreter if it is new enough and has all of its library."""
    for candidate in dict.fromkeys((shutil.which(f"python{VERSION}"), f"/usr/bin/python{VERSION}")):
        try:
            if candidate is not None and _read_version(candidate) >= VERSION_MIN:
                return Path(candidate)
        except (OSError, ValueError, subprocess.SubprocessError):
            continue  # not installed, or without parts that Debian packages on their own
    return None


def _read_version(python: str) -> tuple[int, ...]:
    command = [python, "-I", "-c", _CHECK]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True)
    return tuple(int(part) for part in done.stdout.split())


async def ensure_python(report: Report) -> Path:
    """Return an interpreter: the machine's, or one that is fetched and unpacked unless complete.

    Raises SetupFailed whose reason says why this machine cannot have it.
    """
    if (own := await asyncio.to_thread(find_installed_python)) is not None:
        return own
    directory = python_directory()
    await asyncio.to_thread(directory.parent.mkdir, parents=True, exist_ok=True)
    async with packages.hold_lock(directory.with_name(f".{directory.name}.lock"), mode=0o600):
        if (found := find_python()) is not None:
            return found
        await _require_tools()
        scratch = directory.with_name(f".{directory.name}.partial")
        await asyncio.to_thread(_remove, scratch, directory)
        try:
            await _fetch(scratch, report)
            await _unpack(scratch, directory)
        finally:
            await asyncio.to_thread(_remove, scratch)
        await asyncio.to_thread(packages.mark_complete, directory)
        return _interpreter(directory)


async def _require_tools() -> None:
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise _fail(f"{program} is missing")
    if not await asyncio.to_thread(_KEYRING.is_file):
        raise _fail(f"{_KEYRING} is missing (package {_KEYRING_PACKAGE})")


async def _fetch(scratch: Path, report: Report) -> None:
    """Download the packages into `scratch`/archives, from the first mirror that has them."""
    mirrors = await _list_mirrors()
    for mirror in mirrors:
        try:
            await _fetch_from(mirror, scratch, report)
        except SetupFailed:
            if mirror == mirrors[-1]:
                raise
        else:
            return


async def _fetch_from(mirror: str, scratch: Path, report: Report) -> None:
    options = await asyncio.to_thread(_prepare_apt, scratch, mirror)
    install = (*options, "--no-install-recommends", "-qq", "-y", "install", *_PACKAGES)
    await _require("apt-get", *options, "-qq", "update")
    total = packages.parse_download_bytes(await _require("apt-get", "--print-uris", *install))
    async with packages.report_size(scratch / "archives", lambda done: report(done, total)):
        await _require("apt-get", "--download-only", *install)
    report(total, total)


async def _list_mirrors() -> list[str]:
    """Return the machine's mirror of Debian, where it has one, and the public one."""
    fields = ("--format", "$(ORIGIN) $(LABEL) $(REPO_URI)", "Created-By: Packages")
    listed = (await _require("apt-get", "indextargets", *fields)).splitlines()
    own = [line.split()[2].rstrip("/") for line in listed if line.startswith("Debian Debian ")]
    return list(dict.fromkeys((*own, _MIRROR)))


def _prepare_apt(scratch: Path, mirror: str) -> tuple[str, ...]:
    """Create apt's directories and return its options; proxies stay those of the machine."""
    shutil.rmtree(scratch, ignore_errors=True)
    for name in ("lists/partial", "archives/partial", "root"):
        (scratch / name).mkdir(parents=True)
    (scratch / "status").touch()  # nothing is installed: everything needed is fetched
    source = scratch / "debian.sources"
    text = _SOURCE.format(mirror=mirror, suite=_SUITE, keyring=_KEYRING)
    source.write_text(text, encoding="utf-8")
    settings = {
        "Dir::State": scratch,
        "Dir::State::lists": scratch / "lists",
        "Dir::State::status": scratch / "status",
        "Dir::Cache": scratch,
        "Dir::Cache::archives": scratch / "archives",
        "Dir::Etc::sourcelist": source,
        "Dir::Etc::sourceparts": "/dev/null",
        "Dir::Etc::preferences": "/dev/null",
        "Dir::Etc::preferencesparts": "/dev/null",
        "APT::Update::Error-Mode": "any",  # otherwise a failed download is a warning
        "Acquire::Languages": "none",
        "Acquire::http::Timeout": _TIMEOUT_S,
        "Acquire::https::Timeout": _TIMEOUT_S,
    }
    return tuple(word for name, value in settings.items() for word in ("-o", f"{name}={value}"))


async def _unpack(scratch: Path, directory: Path) -> None:
    """Unpack what was fetched and move it to `directory`, where it must run."""
    root = scratch / "root"
    for archive in sorted((scratch / "archives").glob("*.deb")):
        await _require("dpkg-deb", "--extract", str(archive), str(root))
    await asyncio.to_thread(_install, root, directory)
    await _require(str(_interpreter(directory)), "-c", _CHECK)


def _install(root: Path, directory: Path) -> None:
    for unused in ("etc", "var", "usr/sbin", "usr/share"):
        shutil.rmtree(root / unused, ignore_errors=True)
    loaders = list(root.glob("usr/lib/*-linux-gnu*/ld-linux*.so.*"))
    if len(loaders) != 1:
        raise _fail("the packages of Debian 13 have no program loader")
    loader = directory / loaders[0].relative_to(root)
    program = root / "usr/bin" / f"python{VERSION}"
    text = _WRAPPER.substitute(
        loader=loader, libraries=loader.parent, python=directory / "usr/bin" / program.name
    )
    wrapper = _interpreter(root)
    wrapper.write_text(text, encoding="utf-8")
    wrapper.chmod(0o755)
    root.rename(directory)


def _interpreter(directory: Path) -> Path:
    return directory / "usr" / "bin" / "python3"


def _remove(*directories: Path) -> None:
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


async def _require(*command: str) -> str:
    """Return the program's output; SetupFailed with its error when it fails."""
    # Its messages are read, and this run's own paths must not reach another Python.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    status, output = await packages.run(*command, environment=environment, kill_on_cancel=True)
    if status:
        lines = output.strip().splitlines() or [f"{command[0]} ended with {status}"]
        # apt's first error is the cause; its others are effects.
        raise _fail(next((line[3:] for line in lines if line.startswith("E: ")), lines[-1]))
    return output


def _fail(reason: str) -> SetupFailed:
    hint = f"install Python {VERSION} yourself"
    return SetupFailed(what=f"Python {VERSION}", reason=reason, hint=hint)

"""Home Assistant of the demo home: which release, with which Python, in a virtual environment.

It must not share packages with BarnabeeNet, so its environment lies in the cache. The current
release needs Python 3.13; where that cannot be had, an older one runs on this process's Python.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import shutil
import sys
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import ZipFile

from barnabee.core.errors import SettingInvalid, SettingMissing, SetupFailed
from barnabee.core.settings import read_variable
from barnabee.up import debian_python, packages, paths

if TYPE_CHECKING:
    from barnabee.up.console import ProgressSteps

VENV_VARIABLE = "BARNABEE_HOME_ASSISTANT_VENV"
VERSION_VARIABLE = "BARNABEE_HOME_ASSISTANT_VERSION"
_STEP = "Home Assistant"


@dataclass(frozen=True)
class Release:
    """A release of Home Assistant; Python from `python_min` up to and without `python_end`."""

    version: str
    requirements_name: str
    python_min: tuple[int, ...]
    python_end: tuple[int, int]
    installed_bytes: int  # measured on x86_64

    @property
    def requirements(self) -> Path:
        return paths.checkout_directory() / "requirements" / self.requirements_name

    def runs_on(self, python: tuple[int, ...]) -> bool:
        return self.python_min <= python < self.python_end


CURRENT = Release("2026.2.3", "home-assistant.txt", debian_python.VERSION_MIN, (3, 14), 330_000_000)
FALL_BACK = Release("2024.3.3", "home-assistant-2024.3.txt", (3, 11), (3, 13), 230_000_000)
RELEASES = (CURRENT, FALL_BACK)


# ---- what is there ------------------------------------------------------------------------------


def find_venv() -> Path:
    """Return this machine's virtual environment of Home Assistant; it may not exist yet.

    `$BARNABEE_HOME_ASSISTANT_VENV`, or the first release in the cache that is complete.
    """
    if given := read_variable(VENV_VARIABLE):
        return Path(given)
    candidates = [venv_directory(release) for release in _list_wanted()]
    return next((one for one in candidates if packages.is_complete(one)), candidates[0])


def venv_directory(release: Release) -> Path:
    """Return the directory of a release: its name has the Python and the packages' hash in it."""
    own = sys.version_info[:3]
    major, minor = own[:2] if release.runs_on(own) else release.python_min[:2]
    digest = hashlib.sha256(release.requirements.read_bytes()).hexdigest()[:12]
    return paths.cache_directory() / f"home-assistant-py{major}{minor}-{digest}"


def find_release(venv: Path) -> str | None:
    """Return the version of the Home Assistant that is installed in a virtual environment."""
    found = next(venv.glob("lib/python3*/site-packages/homeassistant-*.dist-info"), None)
    if found is None:
        return None
    return found.name.removeprefix("homeassistant-").removesuffix(".dist-info")


def _list_wanted() -> tuple[Release, ...]:
    wanted = read_variable(VERSION_VARIABLE)
    found = tuple(one for one in RELEASES if one.version.startswith(wanted))
    if not found:
        raise SettingInvalid(
            name=VERSION_VARIABLE,
            reason=f"there is no {wanted}",
            hint=f"set {' or '.join(one.version for one in RELEASES)}, or unset it",
        )
    return found


# ---- set-up -------------------------------------------------------------------------------------


async def ensure_home_assistant(steps: ProgressSteps) -> Path:
    """Return the virtual environment, made unless it is there.

    Prints one line with the reason when it is not the current release. Raises SetupFailed or
    SettingInvalid.
    """
    if read_variable(VENV_VARIABLE):
        return await asyncio.to_thread(_require_given_venv)
    wanted = _list_wanted()
    for release, following in zip(wanted, (*wanted[1:], None), strict=True):
        directory = venv_directory(release)
        if await asyncio.to_thread(packages.is_complete, directory):
            return directory
        try:
            python = await provide_python(release, steps)
        except SetupFailed as error:
            if following is None:
                raise
            steps.print_line(
                f"Home Assistant {following.version} instead of {release.version}, "
                f"which needs Python {debian_python.VERSION}: {error.fields['reason']}"
            )
        else:
            await install_release(release, python, steps)
            return directory
    raise AssertionError  # the last release either is installed or raises


def _require_given_venv() -> Path:
    directory = find_venv()
    if not (directory / "bin" / "python").exists():
        raise SettingInvalid(
            name=VENV_VARIABLE,
            reason=f"{directory} has no bin/python",
            hint="name a virtual environment with Home Assistant, or unset it",
        )
    return directory


async def provide_python(release: Release, steps: ProgressSteps) -> Path:
    """Return an interpreter for a release; the one for the current release may be fetched.

    Raises SetupFailed whose reason says why this machine has none.
    """
    if release.runs_on(sys.version_info[:3]):
        return Path(sys.executable)
    if release is not CURRENT:
        own = ".".join(map(str, sys.version_info[:2]))
        reason = f"it needs Python 3.11 or 3.12, not {own}"
        hint = f"unset {VERSION_VARIABLE}"
        raise SetupFailed(what=f"Home Assistant {release.version}", reason=reason, hint=hint)

    def report(done: int, total: int) -> None:
        steps.report(f"Python {debian_python.VERSION}", done, total)

    return await debian_python.ensure_python(report)


async def install_release(release: Release, python: Path, steps: ProgressSteps) -> None:
    """Make the virtual environment of a release, unless it is complete.

    What an interrupted run has downloaded is used by the next one.
    """
    directory = venv_directory(release)

    def report(done: int) -> None:
        steps.report(_STEP, done, max(release.installed_bytes, done + 1))

    await asyncio.to_thread(directory.parent.mkdir, parents=True, exist_ok=True)
    async with packages.hold_lock(directory.with_name(f".{directory.name}.lock"), mode=0o600):
        if await asyncio.to_thread(packages.is_complete, directory):
            return
        await asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True)
        downloads = directory.with_name(f".{directory.name}.downloads")
        async with packages.report_size(directory, report):
            await _run(directory, str(python), "-I", "-m", "venv", "--without-pip", str(directory))
            await _install(release, directory, downloads)
            # Compiles what a start loads, a tenth of what is installed.
            command = (str(directory / "bin" / "python"), "-c", "import homeassistant.bootstrap")
            await _run(directory, *command)
        await asyncio.to_thread(packages.mark_complete, directory)
        await asyncio.to_thread(shutil.rmtree, downloads, ignore_errors=True)
    size = await asyncio.to_thread(packages.measure_size_bytes, directory)
    steps.report(_STEP, size, size)


async def _install(release: Release, venv: Path, downloads: Path) -> None:
    """Install the packages of a release; of three of them only what can be used here."""
    partly, whole = downloads / "partly.txt", downloads / "whole.txt"
    await asyncio.to_thread(_split_requirements, release.requirements, partly, whole)
    python = str(venv / "bin" / "python")
    checked = ("--quiet", "--no-deps", "--require-hashes", "--cache-dir", str(downloads / "cache"))
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", python)
    await _run(venv, *pip, "download", *checked, "-d", str(downloads), "-r", str(partly))
    await asyncio.to_thread(_unpack_wheels, downloads, venv, release.requirements)
    try:
        uv = packages.find_program("uv")
    except SettingMissing:
        await _run(venv, *pip, "install", "--no-compile", *checked, "-r", str(whole))
        return
    await _run(venv, uv, "pip", "install", "--python", python, *checked, "-r", str(whole))


async def _run(directory: Path, *command: str) -> None:
    environment = packages.make_index_environment()
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    status, output = await packages.run(*command, environment=environment, kill_on_cancel=True)
    if status:
        lines = output.strip().splitlines() or ["it gave no reason"]
        hint = "check the network and the package index, then try again"
        raise SetupFailed(what=f"the environment {directory}", reason=lines[-1], hint=hint)


# ---- packages of which a part is installed ------------------------------------------------------

# Left out are integrations whose packages are not installed here, their texts in other languages,
# pages for old browsers and the interfaces of Amazon's services: nine of ten files.
_PARTLY_INSTALLED = frozenset({"botocore", "home-assistant-frontend", "homeassistant"})
# Browsers ask for Brotli over HTTPS only, and this home is served over HTTP.
_UNUSED = re.compile(
    r"botocore/data/|hass_frontend/(frontend_es5/|.*\.(map|br)$)"
    r"|homeassistant/components/\w+/translations/(?!en\.)"
)
_MANIFEST = re.compile(r"homeassistant/components/\w+/manifest\.json")


def _split_requirements(requirements: Path, partly: Path, whole: Path) -> None:
    partly.parent.mkdir(parents=True, exist_ok=True)
    listed = _read_requirements(requirements)
    for file, is_wanted in ((partly, True), (whole, False)):
        lines = [line for name, line in listed.items() if (name in _PARTLY_INSTALLED) is is_wanted]
        file.write_text("\n".join(lines), encoding="utf-8")


def _read_requirements(requirements: Path) -> dict[str, str]:
    """Return the requirements with their hashes by the names of the packages."""
    text = requirements.read_text(encoding="utf-8").replace("\\\n", "")
    lines = (line for line in text.splitlines() if line and not line.startswith("#"))
    return {line.partition("==")[0]: line for line in lines}


def _unpack_wheels(downloads: Path, venv: Path, requirements: Path) -> None:
    (site,) = venv.glob("lib/python3*/site-packages")
    installed = {_normalize(name) for name in _read_requirements(requirements)}
    for wheel in downloads.glob("*.whl"):
        unpack_wheel(wheel, site, installed)


def unpack_wheel(wheel: Path, site: Path, installed: Collection[str]) -> None:
    """Unpack a pure wheel, whose hash was checked, without what cannot be used.

    `installed` are the normalized names of all packages of the environment.
    """
    with ZipFile(wheel) as archive:
        names = archive.namelist()
        unusable = tuple(
            f"{manifest.rpartition('/')[0]}/"
            for manifest in filter(_MANIFEST.fullmatch, names)
            if not _is_usable(archive.read(manifest), installed)
        )
        used = (name for name in names if not (_UNUSED.match(name) or name.startswith(unusable)))
        archive.extractall(site, used)


def _is_usable(manifest: bytes, installed: Collection[str]) -> bool:
    description = json.loads(manifest)
    if description.get("integration_type") in {"entity", "system"}:
        return True  # Home Assistant reads their descriptions, loaded or not
    listed = description.get("requirements", [])
    return all(_normalize(re.split(r"[^\w.-]", one)[0]) in installed for one in listed)


def _normalize(name: str) -> str:
    """Return the normalized name of a package (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()

"""Which Home Assistant a machine gets, and how its packages are installed."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import pytest
from rich.console import Console

from barnabee.core.errors import SettingInvalid, SetupFailed
from barnabee.up import debian_python, home_assistant, packages
from barnabee.up.console import ProgressSteps
from barnabee.up.home_assistant import CURRENT, FALL_BACK, RELEASES, Release


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    for name in (home_assistant.VENV_VARIABLE, home_assistant.VERSION_VARIABLE):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def on_python_311(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(home_assistant.sys, "version_info", (3, 11, 2, "final", 0))


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    return io.StringIO()


@pytest.fixture
def steps(printed: io.StringIO) -> ProgressSteps:
    return ProgressSteps(Console(file=printed, width=400))


def complete(release: Release) -> Path:
    directory = home_assistant.venv_directory(release)
    directory.mkdir(parents=True)
    packages.mark_complete(directory)
    return directory


# ---- which one ----------------------------------------------------------------------------------


def test_the_first_complete_release_is_found(on_python_311: None) -> None:
    assert home_assistant.find_venv() == home_assistant.venv_directory(CURRENT)
    older = complete(FALL_BACK)
    assert home_assistant.find_venv() == older
    newer = complete(CURRENT)
    assert home_assistant.find_venv() == newer


def test_the_version_can_be_chosen(monkeypatch: pytest.MonkeyPatch, on_python_311: None) -> None:
    complete(CURRENT)
    monkeypatch.setenv(home_assistant.VERSION_VARIABLE, "2024.3")
    assert home_assistant.find_venv() == home_assistant.venv_directory(FALL_BACK)


def test_an_unknown_version_is_rejected(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(home_assistant.VERSION_VARIABLE, "2025.1")
    with pytest.raises(SettingInvalid, match=r"HOME_ASSISTANT_VERSION .* 2026\.2\.3 or 2024\.3\.3"):
        home_assistant.find_venv()


async def test_a_given_environment_must_have_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, steps: ProgressSteps
) -> None:
    monkeypatch.setenv(home_assistant.VENV_VARIABLE, str(tmp_path / "given"))
    assert home_assistant.find_venv() == tmp_path / "given"
    with pytest.raises(SettingInvalid, match="has no bin/python"):
        await home_assistant.ensure_home_assistant(steps)
    (tmp_path / "given/bin").mkdir(parents=True)
    (tmp_path / "given/bin/python").touch()
    assert await home_assistant.ensure_home_assistant(steps) == tmp_path / "given"


def test_other_packages_or_another_python_mean_another_directory(
    monkeypatch: pytest.MonkeyPatch, on_python_311: None
) -> None:
    names = {home_assistant.venv_directory(FALL_BACK).name}
    monkeypatch.setattr(home_assistant.sys, "version_info", (3, 12, 3, "final", 0))
    names.add(home_assistant.venv_directory(FALL_BACK).name)
    monkeypatch.setattr(Release, "requirements", Path(__file__))
    names.add(home_assistant.venv_directory(FALL_BACK).name)
    assert len(names) == 3


@pytest.mark.parametrize(
    ("release", "python", "expected"),
    [
        (CURRENT, (3, 13, 2), True),
        (CURRENT, (3, 13, 1), False),
        (CURRENT, (3, 14, 0), False),
        (FALL_BACK, (3, 11, 2), True),
        (FALL_BACK, (3, 12, 3), True),
        (FALL_BACK, (3, 13, 5), False),
    ],
)
def test_each_release_has_its_pythons(
    release: Release, python: tuple[int, ...], expected: bool
) -> None:
    assert release.runs_on(python) is expected


async def test_without_a_newer_python_the_older_release_is_installed(
    monkeypatch: pytest.MonkeyPatch, on_python_311: None, steps: ProgressSteps, printed: io.StringIO
) -> None:
    installed = []

    async def fail(report: object) -> Path:
        raise SetupFailed(what="Python 3.13", reason="apt-get is missing", hint="")

    async def install(release: Release, python: Path, steps: object) -> None:
        installed.append((release, python))

    monkeypatch.setattr(debian_python, "ensure_python", fail)
    monkeypatch.setattr(home_assistant, "install_release", install)

    venv = await home_assistant.ensure_home_assistant(steps)

    assert venv == home_assistant.venv_directory(FALL_BACK)
    assert installed == [(FALL_BACK, Path(sys.executable))]
    assert printed.getvalue().splitlines() == [
        "Home Assistant 2024.3.3 instead of 2026.2.3, which needs Python 3.13: apt-get is missing"
    ]


async def test_the_older_release_is_refused_on_a_newer_python(
    monkeypatch: pytest.MonkeyPatch, steps: ProgressSteps
) -> None:
    monkeypatch.setattr(home_assistant.sys, "version_info", (3, 13, 5, "final", 0))
    assert await home_assistant.provide_python(CURRENT, steps) == Path(sys.executable)
    monkeypatch.setenv(home_assistant.VERSION_VARIABLE, "2024.3")
    with pytest.raises(SetupFailed, match=r"Python 3\.11 or 3\.12, not 3\.13"):
        await home_assistant.ensure_home_assistant(steps)


# ---- installation -------------------------------------------------------------------------------


async def test_an_interrupted_installation_starts_again(
    monkeypatch: pytest.MonkeyPatch, steps: ProgressSteps
) -> None:
    directory = home_assistant.venv_directory(FALL_BACK)
    python = Path(sys.executable)
    reached = asyncio.Event()

    async def hang(*_: object) -> None:
        reached.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(home_assistant, "_install", hang)
    task = asyncio.create_task(home_assistant.install_release(FALL_BACK, python, steps))
    await reached.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not packages.is_complete(directory)
    (directory / "left").touch()

    async def install(release: Release, venv: Path, downloads: Path) -> None:
        assert not (venv / "left").exists()
        site = next(venv.glob("lib/python3*/site-packages"))
        (site / "homeassistant").mkdir()
        (site / "homeassistant/bootstrap.py").touch()

    monkeypatch.setattr(home_assistant, "_install", install)
    await home_assistant.install_release(FALL_BACK, python, steps)

    assert packages.is_complete(directory)


async def test_a_release_that_cannot_be_imported_is_not_complete(
    monkeypatch: pytest.MonkeyPatch, steps: ProgressSteps
) -> None:
    async def install(*_: object) -> None:
        pass

    monkeypatch.setattr(home_assistant, "_install", install)
    with pytest.raises(SetupFailed, match="No module named 'homeassistant'"):
        await home_assistant.install_release(FALL_BACK, Path(sys.executable), steps)
    assert not packages.is_complete(home_assistant.venv_directory(FALL_BACK))


def write_wheel(path: Path, files: dict[str, Any]) -> Path:
    with ZipFile(path, "w") as wheel:
        for name, content in files.items():
            wheel.writestr(name, content if isinstance(content, str) else json.dumps(content))
    return path


def test_only_what_can_be_used_is_unpacked(tmp_path: Path) -> None:
    components = "homeassistant/components"
    wheel = write_wheel(
        tmp_path / "homeassistant.whl",
        {
            "homeassistant/bootstrap.py": "",
            f"{components}/light/manifest.json": {"integration_type": "entity"},
            f"{components}/light/translations/en.json": {},
            f"{components}/light/translations/de.json": {},
            f"{components}/camera/manifest.json": {
                "integration_type": "entity",
                "requirements": ["not-here==1"],
            },
            f"{components}/here/manifest.json": {"requirements": ["Some_Package[extra]==1.0"]},
            f"{components}/missing/manifest.json": {"requirements": ["not-here==1"]},
            f"{components}/missing/__init__.py": "",
            "hass_frontend/frontend_latest/app.js": "",
            "hass_frontend/frontend_latest/app.js.br": "",
            "hass_frontend/frontend_latest/app.js.map": "",
            "hass_frontend/frontend_es5/app.js": "",
        },
    )
    site = tmp_path / "site"

    home_assistant.unpack_wheel(wheel, site, {"some-package"})

    assert {str(path.relative_to(site)) for path in site.rglob("*") if path.is_file()} == {
        "homeassistant/bootstrap.py",
        f"{components}/light/manifest.json",
        f"{components}/light/translations/en.json",
        f"{components}/camera/manifest.json",
        f"{components}/here/manifest.json",
        "hass_frontend/frontend_latest/app.js",
    }


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)
def test_every_required_package_is_pinned_with_its_hashes(release: Release) -> None:
    listed = home_assistant._read_requirements(release.requirements)

    assert f"homeassistant=={release.version} " in listed["homeassistant"]
    assert home_assistant._PARTLY_INSTALLED - set(listed) <= {"botocore"}
    assert all("--hash=sha256:" in line for line in listed.values())


@pytest.mark.parametrize("release", RELEASES, ids=lambda release: release.version)
def test_requirements_are_split_without_loss(release: Release, tmp_path: Path) -> None:
    partly, whole = tmp_path / "new" / "partly.txt", tmp_path / "new" / "whole.txt"

    home_assistant._split_requirements(release.requirements, partly, whole)

    parts = [home_assistant._read_requirements(file) for file in (partly, whole)]
    assert parts[0] | parts[1] == home_assistant._read_requirements(release.requirements)
    assert set(parts[0]) <= home_assistant._PARTLY_INSTALLED

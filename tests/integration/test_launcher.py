"""The launcher in a small checkout: a real environment, created once."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
MAIN = "import os, sys; print(sys.argv[1:], sys.prefix, os.environ['PYTHONPATH'])\n"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """Return a checkout without requirements, so that nothing is downloaded."""
    root = tmp_path / "a checkout"
    (root / "src" / "barnabee").mkdir(parents=True)
    (root / "src" / "barnabee" / "__init__.py").touch()
    (root / "src" / "barnabee" / "__main__.py").write_text(MAIN)
    (root / "requirements").mkdir()
    for name in ("default", "dev"):
        (root / "requirements" / f"{name}.txt").write_text(f"# {name}\n")
    shutil.copy(ROOT / "barnabee", root / "barnabee")
    return root


def launch(
    program: Path, *arguments: str, cwd: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    base = {name: value for name, value in os.environ.items() if not name.startswith("BARNABEE_")}
    base.pop("PYTHONPATH", None)
    return subprocess.run(
        [program, *arguments],
        cwd=cwd,
        env=base | environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_a_given_environment_is_used_and_nothing_is_installed(checkout: Path) -> None:
    result = launch(checkout / "barnabee", "say", "two words", BARNABEE_PYTHON=sys.executable)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("['say', 'two words']")
    assert f"{checkout}/src" in result.stdout
    assert not (checkout / ".barnabee").exists()


def test_runs_from_any_directory_and_through_a_symlink(checkout: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "bin"
    elsewhere.mkdir()
    (elsewhere / "barnabee").symlink_to(checkout / "barnabee")
    result = launch(elsewhere / "barnabee", "check", cwd=Path("/"), BARNABEE_PYTHON=sys.executable)
    assert f"{checkout}/src" in result.stdout


def test_an_invalid_environment_is_one_sentence(checkout: Path) -> None:
    result = launch(checkout / "barnabee", BARNABEE_PYTHON="/nonexistent/python")
    assert result.returncode == 1
    assert result.stderr == "barnabee: BARNABEE_PYTHON=/nonexistent/python is not a program.\n"


@pytest.mark.long
def test_the_environment_is_created_once_per_requirements(checkout: Path) -> None:
    first = launch(checkout / "barnabee", "check")
    assert first.returncode == 0, first.stderr
    assert f"installing 0 packages into {checkout}/.barnabee/venv" in first.stderr
    assert f"{checkout}/.barnabee/venv" in first.stdout
    assert launch(checkout / "barnabee", "check").stderr == ""
    assert "installing 0" in launch(checkout / "barnabee", "test").stderr
    assert launch(checkout / "barnabee", "check").stderr == "", "dev contains all of default"
    (checkout / "requirements" / "dev.txt").write_text("# another\n")
    assert "installing 0" in launch(checkout / "barnabee", "check").stderr


@pytest.mark.long
def test_concurrent_launches_create_one_environment(checkout: Path) -> None:
    base = os.environ | {"PYTHONPATH": ""}
    both = [
        subprocess.Popen(
            [checkout / "barnabee", "check"],
            env=base,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    outputs = [one.communicate(timeout=120) for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert sum("installing" in errors for _, errors in outputs) == 1


@pytest.mark.long
def test_a_failed_installation_shows_pips_reason_and_no_stamp(
    checkout: Path,
) -> None:
    listing = f"nothing @ file://{checkout}/nothing.whl --hash=sha256:{'0' * 64}\n"
    (checkout / "requirements" / "default.txt").write_text(listing)
    result = launch(checkout / "barnabee", "check")
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1] == (
        "barnabee: the packages could not be installed: check the network, then try again."
    )
    assert not (checkout / ".barnabee" / "venv" / "requirements.stamp").exists()

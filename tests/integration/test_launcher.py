"""The launcher in a small checkout: a real environment, created once."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tomllib
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


def test_the_environment_is_created_once_per_requirements(checkout: Path) -> None:
    first = launch(checkout / "barnabee", "check")
    assert first.returncode == 0, first.stderr
    assert f"making {checkout}/.barnabee/venv with Python" in first.stderr
    assert f"{checkout}/.barnabee/venv" in first.stdout
    assert launch(checkout / "barnabee", "check").stderr == ""
    assert "installing 0" in launch(checkout / "barnabee", "test").stderr
    assert launch(checkout / "barnabee", "check").stderr == "", "dev contains all of default"
    (checkout / "requirements" / "dev.txt").write_text("# another\n")
    assert "installing 0" in launch(checkout / "barnabee", "check").stderr


def test_an_environment_of_another_python_is_made_again(checkout: Path) -> None:
    assert launch(checkout / "barnabee", "check").returncode == 0
    stamp = checkout / ".barnabee" / "venv" / "requirements.stamp"
    kind, _, rest = stamp.read_text().split(" ", 2)
    stamp.write_text(f"{kind} /usr/bin/python3.10 {rest}")
    assert "making" in launch(checkout / "barnabee", "check").stderr


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


def test_a_failed_installation_shows_pips_reason_and_no_stamp(checkout: Path) -> None:
    listing = f"uv==0.0.1 \\\n    --hash=sha256:{'0' * 64}\n"
    (checkout / "requirements" / "default.txt").write_text(listing)
    result = launch(checkout / "barnabee", "check", PIP_NO_INDEX="1")
    assert result.returncode == 1
    assert "No matching distribution found for uv==0.0.1" in result.stderr
    assert result.stderr.splitlines()[-1] == (
        "barnabee: the packages could not be installed: check the network, then try again."
    )
    assert not (checkout / ".barnabee" / "venv" / "requirements.stamp").exists()


def test_a_list_without_packages_for_this_python_is_an_error(checkout: Path) -> None:
    (checkout / "requirements" / "default.txt").write_text("a==1 ; python_version < '3'\n")
    venv = checkout / ".barnabee" / "venv"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", venv], check=True)
    packages = next((venv / "lib").glob("python3.*/site-packages"))
    (packages / "uv.py").touch()
    (venv / "bin" / "uv").symlink_to("/bin/true")
    result = launch(checkout / "barnabee", "check")
    assert result.returncode == 1
    assert "requirements/default.txt has no packages for Python 3." in result.stderr


def test_a_disk_that_is_too_small_is_reported_before_anything_is_fetched(checkout: Path) -> None:
    (checkout / "requirements" / "default.txt").write_text("uv==0.0.1\n")
    df = checkout / "bin" / "df"
    df.parent.mkdir()
    df.write_text("#!/bin/sh\necho header\necho /dev/x 9999999 1 1024000 1% /\n")
    df.chmod(0o755)
    path = f"{df.parent}:{os.environ['PATH']}"
    result = launch(
        checkout / "barnabee", "check", PATH=path, XDG_CACHE_HOME=str(checkout / "cache")
    )
    assert result.returncode == 1
    assert result.stderr == (
        f"barnabee: the disk of {checkout}/.barnabee has 1000 MB free and the set-up needs 2350 MB:"
        " make room, then try again.\n"
    )


@pytest.mark.parametrize("version", [(3, 10), (3, 14)])
def test_a_machine_without_a_supported_python_is_told_so(
    checkout: Path, version: tuple[int, int]
) -> None:
    """The programs are those of the system but Python, which is too old or too new."""
    tools = checkout / "bin"
    tools.mkdir()
    for name in ("dirname", "readlink", "mkdir", "flock", "sha256sum", "cat", "id", "grep", "date"):
        (tools / name).symlink_to(f"/usr/bin/{name}")
    python = tools / "python3"
    accepted = f"import sys; sys.version_info = {(*version, 0)}"
    python.write_text(f"#!/bin/sh\nexec {sys.executable} -c \"{accepted}; exec('''$2''')\"\n")
    python.chmod(0o755)
    result = launch(checkout / "barnabee", "check", PATH=str(tools))
    assert result.returncode == 1
    assert "python3 python3-venv is missing: install it" in result.stderr


def test_settings_of_pip_hold_for_uv(checkout: Path, tmp_path: Path) -> None:
    configuration = tmp_path / "pip.conf"
    configuration.write_text(
        "[global]\nindex-url = https://packages.example/simple\n"
        "extra-index-url =\n    https://one.example\n    file:///two\ncert = /etc/a.pem\n"
    )
    (checkout / "requirements" / "default.txt").write_text("uv==0.0.1\n")
    pip = {"PIP_CONFIG_FILE": str(configuration), "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "/wheels"}
    launch(checkout / "barnabee", "check", **pip)
    settings = tomllib.loads((checkout / ".barnabee" / "venv" / "uv.toml").read_text())
    assert settings == {
        "index-url": "https://packages.example/simple",
        "extra-index-url": ["https://one.example", "file:///two"],
        "find-links": ["/wheels"],
        "system-certs": True,
        "index-strategy": "unsafe-best-match",
    }


def test_doctor_works_before_the_environment_exists(checkout: Path) -> None:
    result = launch(checkout / "barnabee", "doctor")
    assert result.returncode == 0
    assert "ok: Python 3." in result.stderr
    assert "to fetch: the environment (950 MB): `./barnabee up` makes it" in result.stderr
    assert not (checkout / ".barnabee").exists()


# ---- uninstall ----------------------------------------------------------------------------------


@pytest.fixture
def installed(checkout: Path, tmp_path: Path) -> dict[str, str]:
    """Return the environment of an installation with a database and a model of the user's own."""
    (checkout / "scripts").mkdir()
    shutil.copy(ROOT / "scripts" / "uninstall.sh", checkout / "scripts")
    (checkout / "pkgs" / "models").mkdir(parents=True)
    (checkout / "pkgs" / "models" / "models.toml").write_text('[model.a]\n[model."b.c"]\n')
    cache = tmp_path / "cache" / "barnabee"
    for name in ("venv/bin", "run", "data", "secrets", "logs"):
        (checkout / ".barnabee" / name).mkdir(parents=True)
    for name in ("models/a", "models/b.c", "models/mine", "dashboard-1", ".node-1"):
        (cache / name).mkdir(parents=True)
    return {"XDG_CACHE_HOME": str(cache.parent)}


def list_tree(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*")}


def test_uninstall_keeps_data_and_own_models_and_says_so(
    checkout: Path, installed: dict[str, str], tmp_path: Path
) -> None:
    result = launch(checkout / "barnabee", "uninstall", **installed)
    assert result.returncode == 0, result.stderr
    assert list_tree(tmp_path / "cache" / "barnabee") == {"models", "models/mine"}
    assert list_tree(checkout / ".barnabee") == {"data", "secrets", "logs"}
    for kept in (tmp_path / "cache" / "barnabee" / "models", checkout / ".barnabee" / "data"):
        assert f"barnabee: kept: {kept}\n" in result.stdout


def test_uninstall_with_data_leaves_only_own_models(
    checkout: Path, installed: dict[str, str]
) -> None:
    assert launch(checkout / "barnabee", "uninstall", "--data", **installed).returncode == 0
    assert not (checkout / ".barnabee").exists()


def test_uninstall_refuses_while_the_assistant_runs(
    checkout: Path, installed: dict[str, str]
) -> None:
    with (checkout / ".barnabee" / "run" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        result = launch(checkout / "barnabee", "uninstall", **installed)
    assert result.returncode == 1
    assert "stop it with ./barnabee down" in result.stderr
    assert (checkout / ".barnabee" / "venv" / "bin").exists()


def test_uninstall_refuses_an_unknown_option(checkout: Path, installed: dict[str, str]) -> None:
    result = launch(checkout / "barnabee", "uninstall", "--dta", **installed)
    assert (result.returncode, result.stderr) == (
        2,
        "barnabee: --dta is not an option of uninstall; there is --data\n",
    )

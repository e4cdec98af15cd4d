"""Virtual environments for tests that need torch or other servers' dependencies.

Each is in the user's cache, installed from a requirements file with hashes and named after that
file's SHA-256, so that a changed file makes a new one. torch's takes about 8 GB and minutes, so
tests that need one carry the marker `long` or `bench`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.benchmark import IS_SMOKE_RUN

ROOT = Path(__file__).resolve().parents[2]
INSTALL_LIMIT_S = 3600  # 8 GB over a home internet connection
RUN_LIMIT_S = 900


def find_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barnabee"


def make_torch_python() -> Path:
    """Return a Python with requirements/gpu.txt, or the one in BARNABEE_TORCH_PYTHON."""
    return make_pinned_python("torch", "gpu.txt")


def make_pinned_python(name: str, file: str) -> Path:
    """Return the Python of the environment `name`, installed from requirements/`file` if missing.

    The variable BARNABEE_<NAME>_PYTHON overrides it.
    """
    given = os.environ.get(f"BARNABEE_{name.upper()}_PYTHON")
    if given:
        return Path(given)
    requirements = ROOT / "requirements" / file
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    cache = find_cache()
    home = cache / f"{name}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel releases it when the process dies
        if not (home / "whole").is_file():
            if IS_SMOKE_RUN:
                pytest.skip(f"{home.name} is not installed (./barnabee bench installs it)")
            _install(home, requirements)
    return home / "bin" / "python"


def _install(home: Path, requirements: Path) -> None:
    print(f"\ninstalling {home} from {requirements.name}; gigabytes, takes minutes")
    shutil.rmtree(home, ignore_errors=True)  # left by a killed run
    uv = [str(Path(sys.executable).parent / "uv"), "pip", "install", "--quiet", "--no-cache"]
    options = ["--no-deps", "--require-hashes", "--requirement", str(requirements)]
    for command in (
        [sys.executable, "-m", "venv", "--without-pip", str(home)],
        [*uv, "--python", str(home / "bin" / "python"), *options],
    ):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=INSTALL_LIMIT_S, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    (home / "whole").touch()


def run_in_torch(script: str | Path, *arguments: str, limit_s: float = RUN_LIMIT_S) -> str:
    """Run a module ("support.x") or a file in torch's Python; return its standard output.

    The code under test and tests/ are importable; model hubs are offline. Fails with the standard
    error of the process.
    """
    target = [str(script)] if _is_file(script) else ["-m", str(script)]
    done = subprocess.run(
        [str(make_torch_python()), *target, *arguments],
        env=make_offline_environment(),
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.returncode == 0, f"{script} exited with {done.returncode}:\n{done.stderr[-8000:]}"
    return done.stdout


def make_offline_environment() -> dict[str, str]:
    """Return the environment of a Python that runs our code without access to model hubs."""
    added = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **added}


def _is_file(script: str | Path) -> bool:
    return isinstance(script, Path) or script.endswith(".py")

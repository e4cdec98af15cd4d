"""Pythons beside the tests' own: what has torch, and rivals that want other versions of everything.

Each is a virtual environment in the user's cache, made from a requirements file with hashes and
named after that file's SHA-256, so a changed file makes a new one. torch's is about 8 GB and takes
minutes, so tests that need one carry the marker `long` or `bench`.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MAKING_LIMIT_S = 3600  # 8 GB over a household's line
RUN_LIMIT_S = 900


def torch_python() -> Path:
    """Return a Python that has requirements/gpu.txt; BARNABEE_TORCH_PYTHON names one to use."""
    return pinned_python("torch", "gpu.txt")


def pinned_python(name: str, file: str) -> Path:
    """Return the Python of the environment `name`, made from requirements/`file` when absent.

    BARNABEE_<NAME>_PYTHON names one that is used as it is.
    """
    given = os.environ.get(f"BARNABEE_{name.upper()}_PYTHON")
    if given:
        return Path(given)
    requirements = ROOT / "requirements" / file
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()[:12]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "barnabee"
    home = cache / f"{name}-{digest}"
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / f".{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the kernel lets go of it when its holder dies
        if not (home / "whole").is_file():
            _make(home, requirements)
    return home / "bin" / "python"


def _make(home: Path, requirements: Path) -> None:
    print(f"\nmaking {home} from {requirements.name}; this is gigabytes and takes minutes")
    shutil.rmtree(home, ignore_errors=True)  # of a run that was killed
    pip = [str(home / "bin" / "python"), "-m", "pip", "install", "--quiet", "--no-deps"]
    for command in (
        [sys.executable, "-m", "venv", str(home)],
        [*pip, "--require-hashes", "-r", str(requirements)],
    ):
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=MAKING_LIMIT_S, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}:\n{done.stdout}\n{done.stderr}"
    (home / "whole").touch()


def run_in_torch(script: str | Path, *arguments: str, limit_s: float = RUN_LIMIT_S) -> str:
    """Run a module ("support.x") or a file in torch's Python; return what it printed.

    It sees the code under test and tests/, but no network: nothing may be fetched behind our back.
    AssertionError carries what it said when it fails.
    """
    where = [str(script)] if _is_file(script) else ["-m", str(script)]
    done = subprocess.run(
        [str(torch_python()), *where, *arguments],
        env=offline_environment(),
        capture_output=True,
        text=True,
        timeout=limit_s,
        check=False,
    )
    assert done.returncode == 0, f"{script} exited with {done.returncode}:\n{done.stderr[-8000:]}"
    return done.stdout


def offline_environment() -> dict[str, str]:
    """Return the environment for another Python that runs our code and reaches no model hub."""
    own = {"PYTHONPATH": f"{ROOT / 'src'}{os.pathsep}{ROOT / 'tests'}", "HF_HUB_OFFLINE": "1"}
    return {**os.environ, **own}


def _is_file(script: str | Path) -> bool:
    return isinstance(script, Path) or script.endswith(".py")

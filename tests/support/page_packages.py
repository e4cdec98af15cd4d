"""What only the tests of the page need of npm: beside its sources, as the lock pins it, once."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path

import pytest

from barnabee.core.errors import SetupFailed
from barnabee.up import dashboard

SOURCES = Path(__file__).resolve().parents[2] / "src" / "dashboard"
MODULES = SOURCES / "node_modules"


def node() -> dashboard.NodeRuntime:
    """Return Node, with every package of the lock there; fails the test where it cannot be had."""
    try:
        found = dashboard.find_node_runtime()
    except SetupFailed as error:
        pytest.fail(str(error))
    with (SOURCES / "package.json").open("rb") as alone:  # tests run beside one another
        fcntl.flock(alone, fcntl.LOCK_EX)
        if not (MODULES / ".package-lock.json").is_file():
            done = subprocess.run(
                [*found.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
                cwd=SOURCES,
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                told = dashboard.extract_reason(done.stdout + done.stderr)
                pytest.fail(f"the page's packages cannot be had: {told}")
    return found

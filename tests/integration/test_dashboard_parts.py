"""The page's own tests and types, by the tools that its lock names."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from barnabee.core.errors import SetUpFailed
from barnabee.up import dashboard

DASHBOARD = Path(__file__).resolve().parents[2] / "src" / "dashboard"
pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.fixture(scope="module")
def node() -> dashboard.Node:
    """Return Node, with the packages of the lock beside the page's sources."""
    try:
        found = dashboard.find_node()
    except SetUpFailed as error:
        pytest.skip(str(error))
    if not (DASHBOARD / "node_modules" / "vitest").is_dir():
        done = subprocess.run(
            [*found.npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"],
            cwd=DASHBOARD,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            pytest.skip(f"its packages cannot be had: {dashboard.reason_in(done.stdout)}")
    return found


@pytest.mark.parametrize("tool", [("typescript/bin/tsc",), ("vitest/vitest.mjs", "run")])
def test_its_types_hold_and_its_parts_do_what_they_should(
    node: dashboard.Node, tool: tuple[str, ...]
) -> None:
    script = str(DASHBOARD / "node_modules" / tool[0])
    done = subprocess.run(
        [node.node, script, *tool[1:]],
        cwd=DASHBOARD,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

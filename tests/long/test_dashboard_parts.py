"""Type check and unit tests of the dashboard, with the locked tool versions."""

from __future__ import annotations

import os
import subprocess

import pytest

from support import dashboard

pytestmark = pytest.mark.timeout(400)


@pytest.mark.parametrize("tool", [("typescript/bin/tsc",), ("vitest/vitest.mjs", "run")])
async def test_types_and_unit_tests_of_the_dashboard_pass(tool: tuple[str, ...]) -> None:
    async with dashboard.install_node_packages() as node:
        result = subprocess.run(
            [node.node, str(dashboard.NODE_MODULES / tool[0]), *tool[1:]],
            cwd=dashboard.SOURCES,
            env=os.environ | {"NO_COLOR": "1"},
            capture_output=True,
            text=True,
            check=False,
        )
    assert result.returncode == 0, result.stdout + result.stderr

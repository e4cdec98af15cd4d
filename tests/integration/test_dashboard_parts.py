"""The page's own tests and types, by the tools that its lock names."""

from __future__ import annotations

import os
import subprocess

import pytest

from support import page_packages

pytestmark = [pytest.mark.long, pytest.mark.timeout(400)]


@pytest.mark.parametrize("tool", [("typescript/bin/tsc",), ("vitest/vitest.mjs", "run")])
def test_its_types_hold_and_its_parts_do_what_they_should(tool: tuple[str, ...]) -> None:
    node = page_packages.node()
    done = subprocess.run(
        [node.node, str(page_packages.MODULES / tool[0]), *tool[1:]],
        cwd=page_packages.SOURCES,
        env=os.environ | {"NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr

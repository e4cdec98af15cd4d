"""Shell scripts: shellcheck finds nothing."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from support.programs import needs_program

ROOT = Path(__file__).resolve().parents[2]
SCRIPTS = [
    ROOT / "barnabee",
    ROOT / ".ci/run",
    *sorted((ROOT / "scripts").glob("*.sh")),
    *sorted((ROOT / "src").rglob("*.sh")),
    *sorted((ROOT / "tests/data/deploy").rglob("*.sh")),
]


@needs_program("shellcheck", "shellcheck")
@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_has_nothing_to_object_to(script: Path) -> None:
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout

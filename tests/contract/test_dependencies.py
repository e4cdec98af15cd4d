"""Audit and bill of materials: what the tools find is printed, and decides nothing."""

from __future__ import annotations

import runpy
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "dependencies.py"


def load_script() -> dict[str, Any]:
    return runpy.run_path(str(SCRIPT))


def test_an_audit_without_its_tools_says_so_and_succeeds(tmp_path: Path) -> None:
    python = tmp_path / "python"  # beside it is no uv, and on PATH no npm
    python.symlink_to(sys.executable)
    command = [str(python), str(SCRIPT), "audit"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PATH": str(tmp_path)}
    )
    assert done.returncode == 0, done.stderr
    first, second = done.stdout.splitlines()
    assert first.startswith("pip-audit: skipped: ")
    assert second.startswith("npm audit: skipped: ")


def test_known_vulnerabilities_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    script = load_script()
    answers = [
        {
            "dependencies": [
                {"name": "a", "version": "1", "vulns": [{"id": "CVE-1", "fix_versions": ["2"]}]},
                {"name": "b", "skip_reason": "unknown"},
            ]
        },
        {"vulnerabilities": {"c": {"severity": "high", "range": "<3"}}},
    ]
    found = script["print_audit"]
    monkeypatch.setitem(found.__globals__, "run_tool", lambda *_: answers.pop(0))
    found()
    assert capsys.readouterr().out.splitlines() == [
        "pip-audit: 1 known vulnerabilities",
        "  warning: a 1: CVE-1, fixed in ['2']",
        "npm audit: 1 known vulnerabilities",
        "  warning: c: high, <3",
    ]


def test_licences_come_from_the_metadata_of_installed_packages() -> None:
    read_licence = load_script()["read_licence"]
    assert read_licence("uvicorn") == "BSD-3-Clause"
    assert read_licence("no-such-package-at-all") == ""

"""Order of the units: without a cycle, which systemd breaks by leaving out a unit of its choice."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.nix import evaluate, needs_nixpkgs
from support.programs import needs_program

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
DEPLOYED = "{ lib, ... }: { barnabee.deploy.enable = lib.mkForce true; }"


@needs_program("systemd-analyze", "systemd")
@pytest.mark.parametrize("host", ["barnabee-core", "manofwar"])
def test_no_units_wait_for_each_other(host: str, tmp_path: Path) -> None:
    found: Any = evaluate(f'hosts.report "{host}" ({DEPLOYED})')
    for name, text in found["units"].items():
        (tmp_path / name).write_text(text, encoding="utf-8")
        for target in found["wantedBy"][name]:
            wants = tmp_path / f"{target}.wants"
            wants.mkdir(exist_ok=True)
            (wants / name).symlink_to(tmp_path / name)
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", "multi-user.target"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "/usr/bin:/bin", "SYSTEMD_UNIT_PATH": f"{tmp_path}:"},
    )
    assert "ordering cycle" not in done.stderr, done.stderr

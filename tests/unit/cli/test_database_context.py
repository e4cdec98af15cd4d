"""Control of the units that write to the database, with `systemctl` replaced by a script."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from barnabee.cli.database_context import UnitControl

UNITS = "barnabee.target barnabee-api.service barnabee-litestream.service barnabee-replicate.path"


async def test_path_units_are_stopped_with_the_writers_and_started_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, log = tmp_path / "systemctl", tmp_path / "log"
    program.write_text(f'#!/bin/sh\necho "$*" >>{log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    writers = UnitControl(UNITS)
    await writers.stop()
    await writers.start()
    assert log.read_text().splitlines() == [
        "stop barnabee-api.service barnabee-litestream.service barnabee-replicate.path",
        "start --no-block barnabee.target barnabee-replicate.path",
    ]

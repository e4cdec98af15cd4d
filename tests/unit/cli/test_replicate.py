"""`barnabee replicate`: the real program, started as by a systemd unit."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def start(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    program = tmp_path / "litestream"
    program.write_text('#!/bin/sh\necho "$@"\nenv\n', encoding="utf-8")
    program.chmod(0o755)
    base = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT / "src")}
    command = [sys.executable, "-m", "barnabee", "replicate"]
    return subprocess.run(
        command,
        env=base | {"BARNABEE_LITESTREAM": str(program)} | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def credentials(tmp_path: Path) -> Path:
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / "b2_key_id").write_text("an-id\n", encoding="utf-8")
    (folder / "b2_application_key").write_text("a-key\n", encoding="utf-8")
    return folder


def test_executes_litestream_with_configuration_and_key(tmp_path: Path, credentials: Path) -> None:
    done = start(
        tmp_path,
        CREDENTIALS_DIRECTORY=str(credentials),
        RUNTIME_DIRECTORY=str(tmp_path),
        DATABASE_PATH="/data/barnabee.db",
        AWS_CA_BUNDLE="/etc/ssl/some.pem",
    )
    assert done.returncode == 0, done.stderr
    arguments, *environment = done.stdout.splitlines()
    assert arguments == f"replicate -config {tmp_path}/litestream.json -no-expand-env"
    assert "AWS_ACCESS_KEY_ID=an-id" in environment
    assert not [line for line in environment if line.startswith("AWS_CA_BUNDLE")]
    config = json.loads((tmp_path / "litestream.json").read_text(encoding="utf-8"))
    assert config["dbs"][0]["path"] == "/data/barnabee.db"
    assert config["socket"]["path"] == f"{tmp_path}/litestream.sock"


@pytest.mark.parametrize("lacking", ["CREDENTIALS_DIRECTORY", "RUNTIME_DIRECTORY"])
def test_a_missing_variable_is_named(tmp_path: Path, credentials: Path, lacking: str) -> None:
    given = {"CREDENTIALS_DIRECTORY": str(credentials), "RUNTIME_DIRECTORY": str(tmp_path)}
    done = start(tmp_path, **{name: value for name, value in given.items() if name != lacking})
    assert done.returncode == 2
    assert lacking in done.stderr

"""`barnabee backup`, `restore` and `rollback-data` on the command line, with no service running."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from barnabee.store import db
from support.backup import read_live_content

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home/data").mkdir(parents=True)
    db.prepare_database(tmp_path / "home/data/barnabee.db")
    return tmp_path / "home"


def barnabee(home: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BARNABEE_")
        and name not in {"DATABASE_PATH", "CREDENTIALS_DIRECTORY"}
    }
    done = subprocess.run(
        [sys.executable, "-m", "barnabee", *arguments],
        env=inherited | {"PYTHONPATH": str(ROOT / "src"), "BARNABEE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def test_a_snapshot_is_restored_with_the_recovery_kit_alone(home: Path, tmp_path: Path) -> None:
    database = home / "data/barnabee.db"
    before = read_live_content(database)
    printed = barnabee(home, "backup", "kit").stdout
    assert re.search(r"AGE-SECRET-KEY-1[0-9A-Z]+", printed)
    assert "There is already a recovery key" in barnabee(home, "backup", "kit", status=2).stderr
    (tmp_path / "kit").write_text(printed)
    assert "encrypted" in barnabee(home, "backup", "snapshot").stdout
    (home / "data/snapshots/machine.key").unlink()
    database.unlink()

    command = ("restore", "--from", "snapshot")
    assert "no key on this machine" in barnabee(home, *command, status=1).stderr
    listed = barnabee(home, *command, "--key", str(tmp_path / "kit"), "--dry-run")
    assert ".db.zst.age" in listed.stdout
    assert not database.exists()
    barnabee(home, *command, "--key", str(tmp_path / "kit"))
    assert read_live_content(database) == before
    rehearsed = barnabee(home, "restore", "--rehearse-recovery-kit", "--key", str(tmp_path / "kit"))
    assert "intact and identical" in rehearsed.stdout


def test_a_restore_point_is_rolled_back_to_and_reported(home: Path) -> None:
    assert "none was created" in barnabee(home, "rollback-data", status=2).stderr
    pinned = barnabee(home, "backup", "pin", "--reason", "before I try this").stdout
    [pin] = re.findall(r"^\S+(?=:)", pinned)
    assert "before I try this" in barnabee(home, "rollback-data", "--dry-run").stderr
    barnabee(home, "rollback-data", pin)
    found = json.loads(barnabee(home, "backup", "status", "--json").stdout)
    assert [point["id"] for point in found["pins"]] == [pin]
    assert pin in found["restored"]["source"]
    assert "there is no snapshot yet" in found["warnings"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("restore", "--at", "x", "--txid", "5"), "not both"),
        (("restore", "--from", "snapshot", "--txid", "5"), "does not apply to snapshots"),
        (("restore", "--from", "snapshot"), "There is no snapshot"),
        (("restore", "--from", "snapshot", "--key", "/nowhere"), "cannot be read"),
        (("restore", "--at", "yesterday"), "is not a time"),
        (("rollback-data", "20250101T000000Z-0000"), "There is no restore point"),
    ],
)
def test_a_wrong_argument_is_reported_in_one_sentence(
    home: Path, arguments: tuple[str, ...], says: str
) -> None:
    stderr = barnabee(home, *arguments, status=2).stderr
    assert says in stderr
    assert stderr.count("\n") == 1


def test_a_drill_without_litestream_fails_and_is_recorded(home: Path) -> None:
    stderr = barnabee(home, "backup", "drill", status=1).stderr
    assert "`replica: read`" in stderr
    assert "FAILED at replica: read" in barnabee(home, "backup", "status").stdout
    assert len(list((home / "data/snapshots").glob("*.json"))) == 1  # the first one

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
from support.programs import needs_program

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


@needs_program("restic", "restic")
def test_a_snapshot_is_restored_with_the_recovery_kit_alone(home: Path, tmp_path: Path) -> None:
    database = home / "data/barnabee.db"
    before = read_live_content(database)
    made = barnabee(home, "backup", "snapshot").stdout
    assert "encrypted" in made
    kit_warning = "the recovery kit is not printed"
    assert kit_warning in barnabee(home, "backup", "status").stdout
    printed = barnabee(home, "backup", "kit").stdout
    assert kit_warning not in barnabee(home, "backup", "status").stdout
    (tmp_path / "kit").write_text(printed)
    (home / "data/restic_password").unlink()
    database.unlink()

    command = ("restore", "--from", "snapshot")
    assert "does not open the snapshots" in barnabee(home, *command, status=2).stderr
    [name] = re.findall(r"^snapshot (\w+),", made)
    listed = barnabee(home, "restore", "--list", "--key", str(tmp_path / "kit")).stdout
    assert name in listed
    assert name in barnabee(home, *command, "--key", str(tmp_path / "kit"), "--dry-run").stdout
    assert not database.exists()
    barnabee(home, *command, "--key", str(tmp_path / "kit"))
    assert read_live_content(database) == before
    assert (home / "data/restic_password").exists()  # the next snapshots go there too
    rehearsed = barnabee(home, "restore", "--rehearse-recovery-kit", "--key", str(tmp_path / "kit"))
    assert "intact and identical" in rehearsed.stdout


def test_a_snapshot_from_before_restic_is_restored(home: Path) -> None:
    data = ROOT / "tests/data/backup"
    (home / "data/barnabee.db").unlink()
    file, kit = str(data / "20260131T031000Z.db.zst.age"), str(data / "recovery-kit.txt")
    assert "--key" in barnabee(home, "restore", "--from", "legacy", file, status=2).stderr
    barnabee(home, "restore", "--from", "legacy", file, "--key", kit)
    assert read_live_content(home / "data/barnabee.db").tables["turns"].rows == 20


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
        (("restore", "--from", "legacy"), "Give the FILE of a snapshot"),
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
    assert (home / "data/snapshots.json").exists()  # the first one

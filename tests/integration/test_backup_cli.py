"""`barnabee backup`, `restore` and `rollback-data` as people type them, where no house runs."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from barnabee.store import db
from support.backup import content_of

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "home/data").mkdir(parents=True)
    db.prepare(tmp_path / "home/data/barnabee.db")
    return tmp_path / "home"


def barnabee(home: Path, *arguments: str, status: int = 0) -> subprocess.CompletedProcess[str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("BARNABEE_")
        and name not in {"DATABASE_PATH", "CREDENTIALS_DIRECTORY"}
    }
    done = subprocess.run(
        [sys.executable, "-m", "barnabee", *arguments],
        env=kept | {"PYTHONPATH": str(ROOT / "src"), "BARNABEE_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == status, done.stdout + done.stderr
    return done


def test_from_the_kit_to_a_restore_that_the_kit_alone_allows(home: Path, tmp_path: Path) -> None:
    database = home / "data/barnabee.db"
    before = content_of(database)
    printed = barnabee(home, "backup", "kit").stdout
    assert re.search(r"AGE-SECRET-KEY-1[0-9A-Z]+", printed)
    assert "There is a recovery key already" in barnabee(home, "backup", "kit", status=2).stderr
    (tmp_path / "kit").write_text(printed)
    assert "encrypted" in barnabee(home, "backup", "snapshot").stdout
    (home / "data/snapshots/machine.key").unlink()
    database.unlink()

    named = ("restore", "--from", "snapshot")
    assert "no key on this machine" in barnabee(home, *named, status=1).stderr
    listed = barnabee(home, *named, "--key", str(tmp_path / "kit"), "--dry-run")
    assert ".db.zst.age" in listed.stdout
    assert not database.exists()
    barnabee(home, *named, "--key", str(tmp_path / "kit"))
    assert content_of(database) == before
    rehearsed = barnabee(home, "restore", "--rehearse-recovery-kit", "--key", str(tmp_path / "kit"))
    assert "sound and equal" in rehearsed.stdout


def test_a_pin_is_returned_to_and_told(home: Path) -> None:
    assert "nothing was ever" in barnabee(home, "rollback-data", status=2).stderr
    pinned = barnabee(home, "backup", "pin", "--reason", "before I try this").stdout
    [pin] = re.findall(r"^\S+(?=:)", pinned)
    assert "before I try this" in barnabee(home, "rollback-data", "--dry-run").stderr
    barnabee(home, "rollback-data", pin)
    found = json.loads(barnabee(home, "backup", "status", "--json").stdout)
    assert [one["id"] for one in found["pins"]] == [pin]
    assert pin in found["restored"]["source"]
    assert "there is no snapshot yet" in found["warnings"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (("restore", "--at", "x", "--txid", "5"), "not both"),
        (("restore", "--from", "snapshot", "--txid", "5"), "one moment each"),
        (("restore", "--from", "snapshot"), "There is no snapshot"),
        (("restore", "--from", "snapshot", "--key", "/nowhere"), "cannot be read"),
        (("restore", "--at", "yesterday"), "is no moment"),
        (("rollback-data", "20250101T000000Z-0000"), "There is no pin"),
    ],
)
def test_what_cannot_be_meant_is_said_in_a_sentence(
    home: Path, arguments: tuple[str, ...], says: str
) -> None:
    said = barnabee(home, *arguments, status=2).stderr
    assert says in said
    assert said.count("\n") == 1


def test_a_drill_without_litestream_fails_and_is_written_down(home: Path) -> None:
    barnabee(home, "backup", "snapshot")
    said = barnabee(home, "backup", "drill", status=1).stderr
    assert "`replica: look`" in said
    assert "FAILED at replica: look" in barnabee(home, "backup", "status").stdout

"""Snapshots: what is in them, where they go, what becomes of them when something is in the way."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from barnabee.backup import (
    checksums,
    consistent_copy,
    integrity,
    keys,
    offsite,
    snapshot_job,
    snapshots,
)
from barnabee.backup.snapshots import Snapshot
from barnabee.core import settings as settings_module
from barnabee.core import system as system_module
from barnabee.core.errors import (
    BackupFailed,
    DatabaseFull,
    DependencyDown,
    Overloaded,
    SettingInvalid,
    SettingMissing,
)
from barnabee.core.settings import Settings
from barnabee.store import db
from support.backup import Clock, content_of, cut, flip, folder, with_backup
from support.disk import SmallDisk

KIT = keys.make_kit()
SYSTEM = with_backup(system_module.load(), recovery_recipient=KIT.recipient)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "data").mkdir(exist_ok=True)
    return at(tmp_path / "data", monkeypatch)


def at(data: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BARNABEE_DATA", str(data))
    monkeypatch.setenv("DATABASE_PATH", str(data / "barnabee.db"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    settings = settings_module.load(SYSTEM)
    db.prepare(settings.database_path)
    fill(settings.database_path, 0, 400)
    return settings


def fill(database: Path, first: int, last: int) -> None:
    turn = ("s", None, "what was said " * 10, "what was replied", "chat", "[]", "[]", "{}")
    with closing(consistent_copy.connect(database, "rw")) as connection:
        connection.execute("BEGIN")
        for number in range(first, last):
            row = (f"{number:032x}", *turn, f"2026-01-31T00:00:{number % 60:02}.000Z")
            connection.execute("INSERT INTO turns VALUES (?,?,?,?,?,?,?,?,?,?)", row)
        connection.execute("COMMIT")


def opened(settings: Settings, one: Snapshot, target: Path, secret: str) -> checksums.Content:
    snapshots.open_into(folder(settings), one, target, [keys.identity(secret)])
    integrity.check(target)
    return integrity.read(target)


def test_a_snapshot_is_the_database_and_both_keys_open_it(
    settings: Settings, tmp_path: Path
) -> None:
    made = snapshot_job.run(SYSTEM, settings)

    expected = content_of(settings.database_path)
    machine = (folder(settings) / keys.MACHINE_KEY).read_text()
    assert made.content == expected
    assert opened(settings, made, tmp_path / "one.db", KIT.secret) == expected
    assert opened(settings, made, tmp_path / "two.db", machine) == expected
    assert (folder(settings) / made.file).read_bytes()[:16] == b"age-encryption.o"
    assert made.packed.file_bytes < made.packed.database_bytes / 5
    assert (folder(settings) / keys.MACHINE_KEY).stat().st_mode & 0o777 == 0o640
    left = {path.name for path in folder(settings).iterdir()} - {
        snapshot_job.LOCK,
        keys.MACHINE_KEY,
    }
    assert left == {made.file, made.description}
    assert snapshots.every(folder(settings)) == [made]


def test_it_is_of_one_moment_while_somebody_writes(settings: Settings, tmp_path: Path) -> None:
    stop = threading.Event()
    written = [400]

    def write() -> None:
        while not stop.is_set():
            fill(settings.database_path, written[0], written[0] + 1)
            written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        # Within one second, or with a clock that stands still: none takes the place of another.
        made = [snapshot_job.run(SYSTEM, settings, now=lambda: Clock().now) for _ in range(3)]
    finally:
        stop.set()
        writer.join()

    for number, one in enumerate(made):
        found = opened(settings, one, tmp_path / f"{number}.db", KIT.secret)
        assert found == one.content
    turns = [one.content.tables["turns"].rows for one in made]
    assert turns == sorted(turns)
    assert turns[-1] > turns[0]


def test_without_a_recovery_key_it_stays_here_and_is_not_encrypted(
    settings: Settings, tmp_path: Path
) -> None:
    plain = with_backup(SYSTEM, recovery_recipient="")
    made = snapshot_job.run(plain, settings)

    assert not made.encrypted
    assert (folder(settings) / made.file).stat().st_mode & 0o007 == 0
    snapshots.open_into(folder(settings), made, tmp_path / "x.db", [])
    assert integrity.read(tmp_path / "x.db") == content_of(settings.database_path)

    beyond = with_backup(plain, offsite=f":local:{tmp_path / 'offsite'}")
    with pytest.raises(SettingMissing, match="barnabee backup kit"):
        snapshot_job.run(beyond, settings, now=Clock())
    assert len(snapshots.every(folder(settings))) == 2  # made all the same
    assert not (tmp_path / "offsite").exists()


def test_a_wrong_recovery_key_is_refused_before_anything_is_made(settings: Settings) -> None:
    with pytest.raises(SettingInvalid, match="recovery_recipient"):
        snapshot_job.run(with_backup(SYSTEM, recovery_recipient="age1nonsense"), settings)
    assert snapshots.every(folder(settings)) == []


def test_the_second_place_gets_what_it_missed_and_is_pruned(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "offsite"
    away = with_backup(SYSTEM, offsite="nas:snapshots")
    (tmp_path / "credentials").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    clock = Clock()
    with pytest.raises(SettingMissing, match="rclone_conf"):
        snapshot_job.run(away, settings, now=clock)
    (tmp_path / "credentials/rclone_conf").write_text("[nas]\ntype = unheard-of\n")
    with pytest.raises(DependencyDown, match="off-site nas:snapshots"):
        snapshot_job.run(away, settings, now=clock)

    config = f"[nas]\ntype = alias\nremote = {place}\n"
    (tmp_path / "credentials/rclone_conf").write_text(config)
    last = snapshot_job.run(away, settings, now=clock)

    elsewhere = offsite.of(away)
    assert elsewhere is not None
    here = [one.name for one in snapshots.every(folder(settings))]
    assert len(here) == 3
    assert elsewhere.names() == here
    assert elsewhere.described(last.name) == last
    clock.now = clock.now.replace(year=2027)
    newest = snapshot_job.run(away, settings, now=clock)
    assert (
        elsewhere.names()
        == [newest.name]
        == [one.name for one in snapshots.every(folder(settings))]
    )
    assert {path.suffix for path in (place / "snapshots").iterdir()} == {".age", ".json"}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip, "damaged|checksum|decompressed"),
        (cut, "damaged or cut short"),
        (os.unlink, "missing"),
    ],
    ids=["flipped", "cut", "missing"],
)
@pytest.mark.parametrize("encrypted", [True, False])
def test_a_damaged_snapshot_is_never_taken_for_a_good_one(
    settings: Settings, tmp_path: Path, damage: object, reason: str, encrypted: bool
) -> None:
    system = SYSTEM if encrypted else with_backup(SYSTEM, recovery_recipient="")
    made = snapshot_job.run(system, settings)
    damage(folder(settings) / made.file)  # type: ignore[operator]

    with pytest.raises(ValueError, match=reason if encrypted else r".+"):
        snapshots.open_into(folder(settings), made, tmp_path / "x.db", [keys.identity(KIT.secret)])


def test_every_flipped_byte_is_found(settings: Settings, tmp_path: Path) -> None:
    made = snapshot_job.run(with_backup(SYSTEM, recovery_recipient=""), settings)
    path = folder(settings) / made.file
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r".+"):
            snapshots.open_into(folder(settings), made, tmp_path / "x.db", [])


def test_a_killed_snapshot_leaves_nothing_that_counts(settings: Settings) -> None:
    made = snapshot_job.run(SYSTEM, settings)
    (folder(settings) / "20260201T031000Z.db.zst.age").write_bytes(b"half of it")
    (folder(settings) / ".making.db").write_bytes(b"half of it")

    assert snapshots.every(folder(settings)) == [made]
    again = snapshot_job.run(SYSTEM, settings, now=Clock())
    assert {one.name for one in snapshots.every(folder(settings))} == {made.name, again.name}
    assert not (folder(settings) / "20260201T031000Z.db.zst.age").exists()


def test_two_at_a_time_are_one_too_many(settings: Settings) -> None:
    folder(settings).mkdir()
    with snapshot_job.alone(folder(settings)), pytest.raises(Overloaded, match="snapshot"):
        snapshot_job.run(SYSTEM, settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="a small disk of its own can only be mounted by root")
class TestFullDisk:
    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[SmallDisk]:
        disk = SmallDisk(tmp_path / "small", size_mib=24)
        disk.mount()
        yield disk
        disk.unmount()

    def test_no_room_is_said_before_anything_is_written(
        self, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = at(disk.directory, monkeypatch)
        before = content_of(settings.database_path)
        disk.fill()

        with pytest.raises(DatabaseFull):
            snapshot_job.run(SYSTEM, settings)
        disk.free()
        assert content_of(settings.database_path) == before
        assert snapshot_job.run(SYSTEM, settings).content == before

    def test_a_disk_that_fills_up_on_the_way_leaves_no_half_snapshot(
        self, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = at(disk.directory, monkeypatch)
        good = snapshot_job.run(SYSTEM, settings, now=Clock())
        pack = snapshots.packing.pack

        def filled(*arguments: object, **options: object) -> object:
            disk.fill()
            return pack(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(snapshots.packing, "pack", filled)
        with pytest.raises(BackupFailed, match=r"`pack`.*No space left") as failure:
            snapshot_job.run(SYSTEM, settings)
        assert failure.value.code == "backup_failed"
        assert snapshots.every(folder(settings)) == [good]
        assert len(list(folder(settings).glob("*.age"))) == 1


@pytest.mark.skipif(
    not (shutil.which("age") and shutil.which("zstd")), reason="age and zstd are not both here"
)
def test_the_kit_works_without_barnabee(settings: Settings, tmp_path: Path) -> None:
    made = snapshot_job.run(SYSTEM, settings)
    (tmp_path / "kit").write_text(KIT.secret)
    sealed, target = folder(settings) / made.file, tmp_path / "by-hand.db"
    with target.open("wb") as file:
        age = subprocess.run(
            ["age", "-d", "-i", str(tmp_path / "kit"), str(sealed)], capture_output=True, check=True
        )
        subprocess.run(["zstd", "-d"], input=age.stdout, stdout=file, check=True)
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("SELECT count(*) FROM turns").fetchone()[0] == 400

"""Snapshots: content, encryption, off-site copies, retention and faults."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from barnabee.backup import (
    archive,
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
from barnabee.core.files import lock_file
from barnabee.core.settings import Settings
from barnabee.store import db
from support.backup import (
    TickingClock,
    flip_bits,
    get_snapshot_folder,
    read_live_content,
    truncate_file,
    with_backup_settings,
)
from support.disk import SmallDisk
from support.programs import needs_program

KIT = keys.make_recovery_kit()
SYSTEM = with_backup_settings(system_module.load_system(), recovery_recipient=KIT.recipient)


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "data").mkdir(exist_ok=True)
    return make_settings(tmp_path / "data", monkeypatch)


def make_settings(data: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BARNABEE_DATA", str(data))
    monkeypatch.setenv("DATABASE_PATH", str(data / "barnabee.db"))
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    settings = settings_module.read_settings(SYSTEM)
    db.prepare_database(settings.database_path)
    insert_turns(settings.database_path, 0, 400)
    return settings


def insert_turns(database: Path, first: int, last: int) -> None:
    turn = ("s", None, "what was said " * 10, "what was replied", "chat", "[]", "[]", "{}")
    with closing(consistent_copy.connect_live(database, "rw")) as connection:
        connection.execute("BEGIN")
        for number in range(first, last):
            row = (f"{number:032x}", *turn, f"2026-01-31T00:00:{number % 60:02}.000Z")
            connection.execute("INSERT INTO turns VALUES (?,?,?,?,?,?,?,?,?,?)", row)
        connection.execute("COMMIT")


def extract(
    settings: Settings, made: Snapshot, target: Path, secret: str
) -> integrity.DatabaseContent:
    snapshots.extract_snapshot(
        get_snapshot_folder(settings), made, target, [keys.parse_identity(secret)]
    )
    integrity.check_integrity(target)
    return integrity.read_file_content(target)


def test_both_keys_open_a_snapshot_of_the_database(settings: Settings, tmp_path: Path) -> None:
    made = snapshot_job.run_snapshot_job(SYSTEM, settings)

    expected = read_live_content(settings.database_path)
    machine = (get_snapshot_folder(settings) / keys.MACHINE_KEY).read_text()
    assert made.content == expected
    assert extract(settings, made, tmp_path / "one.db", KIT.secret) == expected
    assert extract(settings, made, tmp_path / "two.db", machine) == expected
    assert (get_snapshot_folder(settings) / made.file).read_bytes()[:16] == b"age-encryption.o"
    assert made.packed.file_bytes < made.packed.database_bytes / 5
    assert (get_snapshot_folder(settings) / keys.MACHINE_KEY).stat().st_mode & 0o777 == 0o640
    left = {path.name for path in get_snapshot_folder(settings).iterdir()} - {
        snapshot_job.LOCK_FILE,
        keys.MACHINE_KEY,
    }
    assert left == {made.file, made.description}
    assert snapshots.list_snapshots(get_snapshot_folder(settings)) == [made]


def test_a_snapshot_is_consistent_while_turns_are_written(
    settings: Settings, tmp_path: Path
) -> None:
    stop = threading.Event()
    written = [400]

    def write() -> None:
        while not stop.is_set():
            insert_turns(settings.database_path, written[0], written[0] + 1)
            written[0] += 1

    writer = threading.Thread(target=write)
    writer.start()
    try:
        # Within one second, or with a stopped clock, no snapshot replaces another.
        made = [
            snapshot_job.run_snapshot_job(SYSTEM, settings, now=lambda: TickingClock().now)
            for _ in range(3)
        ]
    finally:
        stop.set()
        writer.join()

    for number, snapshot in enumerate(made):
        content = extract(settings, snapshot, tmp_path / f"{number}.db", KIT.secret)
        assert content == snapshot.content
    turns = [snapshot.content.tables["turns"].rows for snapshot in made]
    assert turns == sorted(turns)
    assert turns[-1] > turns[0]


def test_without_a_recovery_key_it_is_local_and_not_encrypted(
    settings: Settings, tmp_path: Path
) -> None:
    plain = with_backup_settings(SYSTEM, recovery_recipient="")
    made = snapshot_job.run_snapshot_job(plain, settings)

    assert not made.encrypted
    assert (get_snapshot_folder(settings) / made.file).stat().st_mode & 0o007 == 0
    snapshots.extract_snapshot(get_snapshot_folder(settings), made, tmp_path / "x.db", [])
    assert integrity.read_file_content(tmp_path / "x.db") == read_live_content(
        settings.database_path
    )

    beyond = with_backup_settings(plain, offsite=f":local:{tmp_path / 'offsite'}")
    with pytest.raises(SettingMissing, match="barnabee backup kit"):
        snapshot_job.run_snapshot_job(beyond, settings, now=TickingClock())
    assert len(snapshots.list_snapshots(get_snapshot_folder(settings))) == 2  # made nevertheless
    assert not (tmp_path / "offsite").exists()


def test_a_wrong_recovery_key_is_refused_before_a_snapshot(settings: Settings) -> None:
    with pytest.raises(SettingInvalid, match="recovery_recipient"):
        snapshot_job.run_snapshot_job(
            with_backup_settings(SYSTEM, recovery_recipient="age1nonsense"), settings
        )
    assert snapshots.list_snapshots(get_snapshot_folder(settings)) == []


def test_the_offsite_store_gets_missed_snapshots_and_is_pruned(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "offsite"
    away = with_backup_settings(SYSTEM, offsite="nas:snapshots")
    (tmp_path / "credentials").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    clock = TickingClock()
    with pytest.raises(SettingMissing, match="rclone_conf"):
        snapshot_job.run_snapshot_job(away, settings, now=clock)
    (tmp_path / "credentials/rclone_conf").write_text("[nas]\ntype = unheard-of\n")
    with pytest.raises(DependencyDown, match="off-site nas:snapshots"):
        snapshot_job.run_snapshot_job(away, settings, now=clock)

    config = f"[nas]\ntype = alias\nremote = {place}\n"
    (tmp_path / "credentials/rclone_conf").write_text(config)
    last = snapshot_job.run_snapshot_job(away, settings, now=clock)

    store = offsite.open_offsite(away)
    assert store is not None
    here = [found.name for found in snapshots.list_snapshots(get_snapshot_folder(settings))]
    assert len(here) == 3
    assert store.list_names() == here
    assert store.read_description(last.name) == last
    clock.now = clock.now.replace(year=2027)
    newest = snapshot_job.run_snapshot_job(away, settings, now=clock)
    assert (
        store.list_names()
        == [newest.name]
        == [found.name for found in snapshots.list_snapshots(get_snapshot_folder(settings))]
    )
    assert {path.suffix for path in (place / "snapshots").iterdir()} == {".age", ".json"}


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (flip_bits, "damaged|checksum|decompressed"),
        (truncate_file, "damaged or cut short"),
        (os.unlink, "missing"),
    ],
    ids=["flipped", "cut", "missing"],
)
@pytest.mark.parametrize("encrypted", [True, False])
def test_a_damaged_archive_is_refused(
    settings: Settings, tmp_path: Path, damage: object, reason: str, encrypted: bool
) -> None:
    system = SYSTEM if encrypted else with_backup_settings(SYSTEM, recovery_recipient="")
    made = snapshot_job.run_snapshot_job(system, settings)
    damage(get_snapshot_folder(settings) / made.file)  # type: ignore[operator]

    with pytest.raises(ValueError, match=reason if encrypted else r".+"):
        snapshots.extract_snapshot(
            get_snapshot_folder(settings),
            made,
            tmp_path / "x.db",
            [keys.parse_identity(KIT.secret)],
        )


def test_every_flipped_byte_is_found(settings: Settings, tmp_path: Path) -> None:
    made = snapshot_job.run_snapshot_job(
        with_backup_settings(SYSTEM, recovery_recipient=""), settings
    )
    path = get_snapshot_folder(settings) / made.file
    whole = path.read_bytes()
    for place in range(0, len(whole), max(1, len(whole) // 60)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r".+"):
            snapshots.extract_snapshot(get_snapshot_folder(settings), made, tmp_path / "x.db", [])


def test_files_of_a_killed_snapshot_are_deleted(settings: Settings) -> None:
    made = snapshot_job.run_snapshot_job(SYSTEM, settings)
    (get_snapshot_folder(settings) / "20260201T031000Z.db.zst.age").write_bytes(b"half of it")
    (get_snapshot_folder(settings) / ".making.db").write_bytes(b"half of it")

    assert snapshots.list_snapshots(get_snapshot_folder(settings)) == [made]
    again = snapshot_job.run_snapshot_job(SYSTEM, settings, now=TickingClock())
    assert {found.name for found in snapshots.list_snapshots(get_snapshot_folder(settings))} == {
        made.name,
        again.name,
    }
    assert not (get_snapshot_folder(settings) / "20260201T031000Z.db.zst.age").exists()


def test_two_snapshots_at_once_are_refused(settings: Settings) -> None:
    get_snapshot_folder(settings).mkdir()
    lock = lock_file(get_snapshot_folder(settings) / snapshot_job.LOCK_FILE)
    with lock, pytest.raises(Overloaded, match="snapshot"):
        snapshot_job.run_snapshot_job(SYSTEM, settings)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a tmpfs needs root")
class TestFullDisk:
    @pytest.fixture
    def disk(self, tmp_path: Path) -> Iterator[SmallDisk]:
        disk = SmallDisk(tmp_path / "small", size_mib=24)
        disk.mount()
        yield disk
        disk.unmount()

    def test_a_full_disk_is_reported_before_anything_is_written(
        self, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = make_settings(disk.directory, monkeypatch)
        before = read_live_content(settings.database_path)
        disk.fill()

        with pytest.raises(DatabaseFull):
            snapshot_job.run_snapshot_job(SYSTEM, settings)
        disk.free()
        assert read_live_content(settings.database_path) == before
        assert snapshot_job.run_snapshot_job(SYSTEM, settings).content == before

    def test_a_disk_that_fills_up_leaves_no_unfinished_snapshot(
        self, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = make_settings(disk.directory, monkeypatch)
        good = snapshot_job.run_snapshot_job(SYSTEM, settings, now=TickingClock())
        pack_database = archive.pack_database

        def fill_and_pack(*arguments: object, **options: object) -> object:
            disk.fill()
            return pack_database(*arguments, **options)  # type: ignore[arg-type]

        monkeypatch.setattr(archive, "pack_database", fill_and_pack)
        with pytest.raises(BackupFailed, match=r"`pack`.*No space left") as failure:
            snapshot_job.run_snapshot_job(SYSTEM, settings)
        assert failure.value.code == "backup_failed"
        assert snapshots.list_snapshots(get_snapshot_folder(settings)) == [good]
        assert len(list(get_snapshot_folder(settings).glob("*.age"))) == 1


@needs_program("age", "age")
@needs_program("zstd", "zstd")
def test_age_and_zstd_open_a_snapshot_with_the_kit(settings: Settings, tmp_path: Path) -> None:
    made = snapshot_job.run_snapshot_job(SYSTEM, settings)
    (tmp_path / "kit").write_text(KIT.secret)
    sealed, target = get_snapshot_folder(settings) / made.file, tmp_path / "extracted.db"
    with target.open("wb") as file:
        age = subprocess.run(
            ["age", "-d", "-i", str(tmp_path / "kit"), str(sealed)], capture_output=True, check=True
        )
        subprocess.run(["zstd", "-d"], input=age.stdout, stdout=file, check=True)
    with closing(sqlite3.connect(target)) as connection:
        assert connection.execute("SELECT count(*) FROM turns").fetchone()[0] == 400

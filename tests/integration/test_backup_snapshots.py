"""Snapshots with the real restic: content, off-site copies, retention and faults."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import threading
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from barnabee.backup import (
    consistent_copy,
    drill,
    integrity,
    restic,
    restore_sources,
    snapshot_job,
    snapshots,
)
from barnabee.backup.integrity import RowBaseline
from barnabee.backup.restic import Repository
from barnabee.core import settings as settings_module
from barnabee.core import system as system_module
from barnabee.core.errors import (
    BackupFailed,
    DatabaseFull,
    DependencyDown,
    NotFound,
    Overloaded,
    SettingInvalid,
    SettingMissing,
)
from barnabee.core.files import lock_file
from barnabee.core.settings import Settings
from barnabee.store import db
from support.backup import (
    find_packs,
    flip_bits,
    get_repository,
    read_live_content,
    with_backup_settings,
)
from support.disk import SmallDisk
from support.programs import needs_program
from support.s3 import S3Server

pytestmark = needs_program("restic", "restic")
SYSTEM = system_module.load_system()
AT = datetime(2026, 1, 31, 3, 10, tzinfo=UTC)


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


def open_local(settings: Settings) -> Repository:
    return restic.open_local(settings)


def list_times(repository: Repository | None) -> list[datetime]:
    assert repository is not None
    return [snapshot.at for snapshot in repository.list_snapshots()]


def test_a_snapshot_has_the_database_and_restic_alone_restores_it(
    settings: Settings, tmp_path: Path
) -> None:
    made = snapshot_job.run_snapshot_job(SYSTEM, settings, now=lambda: AT)
    expected = read_live_content(settings.database_path)

    assert (made.at, made.count, made.missing) == (AT.isoformat(), 1, None)
    assert snapshots.read_state(settings) == made
    assert made.rows == expected.rows
    snapshots.fetch_database(open_local(settings), str(made.id), tmp_path / "x.db")
    assert integrity.read_file_content(tmp_path / "x.db") == expected
    assert (settings.data_dir / restic.PASSWORD).stat().st_mode & 0o777 == 0o640
    assert not (settings.data_dir / snapshot_job.SCRATCH_FOLDER).exists()
    for path in get_repository(settings).rglob("*"):
        assert path.stat().st_mode & 0o077 == (0o070 if path.is_dir() else 0o040), path

    follow_kit(snapshot_job.print_kit(SYSTEM, settings), tmp_path / "another machine")


def follow_kit(printed: str, folder: Path) -> None:
    """Write the files and run the commands of the page, in `folder` and without our environment."""
    folder.mkdir()
    before, _, after = printed.partition("On Debian or Ubuntu:")
    _, _, remotes = before.partition("rclone.conf:")
    (folder / "rclone.conf").write_text(remotes)
    programs = ("    export", "    restic")
    commands = [line for line in after.splitlines() if line.startswith(programs)]
    assert len(commands) == (4 if remotes else 3)
    path = f"{os.environ['PATH']}:{Path(restic.find_rclone()).parent}"
    environment = {"PATH": path, "HOME": str(folder)}
    script = ["sh", "-euc", "\n".join(commands)]
    subprocess.run(script, cwd=folder, env=environment, check=True)
    with closing(sqlite3.connect(":memory:")) as connection:
        connection.executescript((folder / "recovered" / snapshots.DUMP).read_text())
        assert connection.execute("SELECT count(*) FROM turns").fetchone()[0] == 400


def test_the_kit_has_all_that_an_offsite_repository_needs(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, s3 = with_backup_settings(SYSTEM, offsite="nas:family/home"), S3Server(tmp_path, "family")
    remote = (
        f"# a comment\n[nas]\ntype = s3\nprovider = Other\nendpoint = {s3.url}\n"
        f"access_key_id = {s3.key_id}\nsecret_access_key = {s3.application_key}\n"
    )
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / restic.RCLONE_CREDENTIAL).write_text(remote)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    s3.start()
    try:
        snapshot_job.run_snapshot_job(away, settings, now=lambda: AT)
        printed = snapshot_job.print_kit(away, settings)
        shutil.rmtree(settings.data_dir)
        follow_kit(printed, tmp_path / "another machine")
    finally:
        s3.kill()


def test_a_snapshot_is_consistent_while_turns_are_written(
    settings: Settings, tmp_path: Path
) -> None:
    stop, written = threading.Event(), [400]

    def write() -> None:
        while not stop.is_set():
            insert_turns(settings.database_path, written[0], written[0] + 2)
            written[0] += 2

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for number in range(3):
            (tmp_path / str(number)).mkdir()
            snapshots.write_files(settings.database_path, tmp_path / str(number), AT)
    finally:
        stop.set()
        writer.join()

    turns = []
    for number in range(3):
        snapshots.load_files(tmp_path / str(number), tmp_path / "x.db")
        turns.append(integrity.count_file_rows(tmp_path / "x.db")["turns"])
    assert turns == sorted(turns)
    assert all(count % 2 == 0 for count in turns)  # no half of a transaction


def test_the_offsite_repository_gets_missed_snapshots_and_is_pruned(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = with_backup_settings(SYSTEM, offsite="nas:snapshots")
    (tmp_path / "credentials").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    with pytest.raises(SettingMissing, match="rclone_conf"):
        snapshot_job.run_snapshot_job(away, settings, now=lambda: AT)
    (tmp_path / "credentials/rclone_conf").write_text("[nas]\ntype = unheard-of\n")
    with pytest.raises(DependencyDown, match="nas:snapshots"):
        snapshot_job.run_snapshot_job(away, settings, now=lambda: AT + timedelta(days=1))

    config = f"[nas]\ntype = alias\nremote = {tmp_path / 'offsite'}\n"
    (tmp_path / "credentials/rclone_conf").write_text(config)
    snapshot_job.run_snapshot_job(away, settings, now=lambda: AT + timedelta(days=2))

    offsite, times = restic.open_offsite(away, settings), list_times(open_local(settings))
    assert times == [AT + timedelta(days=days) for days in range(3)]
    assert list_times(offsite) == times
    insert_turns(settings.database_path, 400, 410)
    late = AT + timedelta(days=91, hours=12)  # the first and second one are too old then
    snapshot_job.run_snapshot_job(away, settings, now=lambda: late)
    assert list_times(offsite) == list_times(open_local(settings)) == [times[2], late]
    source = restore_sources.find_snapshot_source(away, settings, prefer_offsite=True)
    assert isinstance(source, restore_sources.SnapshotSource)
    assert source.is_offsite
    snapshots.fetch_database(source.repository, source.snapshot.id, tmp_path / "x.db")
    assert integrity.read_file_content(tmp_path / "x.db") == read_live_content(
        settings.database_path
    )
    at = (AT + timedelta(days=20)).isoformat()
    earlier = restore_sources.find_snapshot_source(away, settings, at=at)
    assert isinstance(earlier, restore_sources.SnapshotSource)
    assert earlier.snapshot.at == times[2]
    assert not earlier.is_offsite


def test_a_collapsed_database_deletes_no_older_snapshot(settings: Settings) -> None:
    with sqlite3.connect(settings.database_path) as connection:
        baseline = RowBaseline(AT.isoformat(), integrity.count_rows_by_day(connection))
        (settings.data_dir / drill.BASELINE_FILE).write_text(baseline.dumps())
    snapshot_job.run_snapshot_job(SYSTEM, settings, now=lambda: AT)
    with sqlite3.connect(settings.database_path) as connection:
        connection.execute("DELETE FROM turns")
    days = SYSTEM.retention.snapshots_days
    late = AT + timedelta(days=days + 1)
    assert snapshot_job.run_snapshot_job(SYSTEM, settings, now=lambda: late).count == 2

    (settings.data_dir / drill.BASELINE_FILE).unlink()
    later = late + timedelta(days=1)
    assert snapshot_job.run_snapshot_job(SYSTEM, settings, now=lambda: later).count == 2
    assert list_times(open_local(settings)) == [late, later]


def test_damaged_data_is_found_by_check_and_restore(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = snapshot_job.run_snapshot_job(SYSTEM, settings, now=lambda: AT)
    repository = open_local(settings)
    monkeypatch.setattr(restic, "CHECK_PARTS", 1)  # each night reads all
    repository.check(AT.date())
    flip_bits(find_packs(get_repository(settings))[-1])
    with pytest.raises(BackupFailed, match="ciphertext verification failed"):
        snapshots.fetch_database(repository, str(made.id), tmp_path / "x.db")
    with pytest.raises(BackupFailed, match=r"`check`.+repository contains errors"):
        repository.check(AT.date())


def test_a_changed_text_or_row_count_is_refused(settings: Settings, tmp_path: Path) -> None:
    snapshots.write_files(settings.database_path, tmp_path, AT)
    text, described = tmp_path / snapshots.DUMP, tmp_path / snapshots.DESCRIPTION
    whole, description = text.read_bytes(), described.read_text()
    text.write_bytes(whole.replace(b"what was replied", b"what was revised", 1))
    with pytest.raises(ValueError, match="checksum"):
        snapshots.load_files(tmp_path, tmp_path / "x.db")
    text.write_bytes(whole)
    described.write_text(description.replace('"turns": 400', '"turns": 401'))
    with pytest.raises(ValueError, match="row counts"):
        snapshots.load_files(tmp_path, tmp_path / "x.db")
    described.write_text("{}")
    with pytest.raises(ValueError, match="damaged"):
        snapshots.load_files(tmp_path, tmp_path / "x.db")


def test_a_stale_lock_is_removed_and_a_live_one_is_reported(settings: Settings) -> None:
    snapshot_job.run_snapshot_job(SYSTEM, settings, now=lambda: AT)
    repository = open_local(settings)
    holder = subprocess.Popen(
        [restic.find_restic(), "--no-cache", "-r", repository.address, "backup", "--stdin"],
        env={"RESTIC_PASSWORD": repository.password},
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
    )
    locks = get_repository(settings) / "locks"
    try:
        while not list(locks.iterdir()):
            assert holder.poll() is None
        with pytest.raises(Overloaded, match="another restic"):
            repository.forget(90)
    finally:
        holder.kill()
        holder.wait()
    assert list(locks.iterdir())
    repository.forget(90)
    assert not list(locks.iterdir())


def test_a_wrong_password_and_a_missing_repository_are_named(settings: Settings) -> None:
    snapshot_job.run_snapshot_job(SYSTEM, settings, now=lambda: AT)
    wrong = replace(open_local(settings), password="of another machine")
    with pytest.raises(SettingInvalid, match=f"{restic.PASSWORD}.*does not open"):
        wrong.list_snapshots()
    (settings.data_dir / restic.PASSWORD).unlink()
    with pytest.raises(SettingInvalid, match="does not open"):
        restore_sources.find_snapshot_source(SYSTEM, settings)
    shutil.rmtree(get_repository(settings))
    assert wrong.list_snapshots() == []
    with pytest.raises(NotFound, match="barnabee backup snapshot"):
        restore_sources.find_snapshot_source(SYSTEM, settings)


def test_two_snapshots_at_once_are_refused(settings: Settings) -> None:
    lock = lock_file(settings.data_dir / snapshot_job.LOCK_FILE)
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
        assert snapshot_job.run_snapshot_job(SYSTEM, settings).rows == before.rows

    def test_a_disk_that_fills_up_keeps_the_snapshots_before(
        self, disk: SmallDisk, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        settings = make_settings(disk.directory, monkeypatch)
        good = snapshot_job.run_snapshot_job(SYSTEM, settings, now=lambda: AT)
        insert_turns(settings.database_path, 400, 800)
        write_files = snapshots.write_files

        def write_and_fill(*arguments: object) -> object:
            rows = write_files(*arguments)  # type: ignore[arg-type]
            disk.fill()
            return rows

        monkeypatch.setattr(snapshots, "write_files", write_and_fill)
        with pytest.raises(BackupFailed, match="no space left"):
            snapshot_job.run_snapshot_job(SYSTEM, settings)
        assert snapshots.read_state(settings) == good
        disk.free()
        assert list_times(open_local(settings)) == [AT]


def test_without_restic_there_is_a_plain_copy_and_one_line_about_it(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for _ in range(2):
        made = snapshot_job.run_snapshot_job(SYSTEM, settings, now=lambda: AT)
    assert made.id is None
    assert "apt-get install restic" in (made.missing or "")
    copy = settings.data_dir / snapshots.PLAIN_COPY
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
    assert integrity.read_file_content(copy) == read_live_content(settings.database_path)
    source = restore_sources.find_snapshot_source(SYSTEM, settings)
    assert str(copy) in source.name

    away = with_backup_settings(SYSTEM, offsite=":local:/mnt/nas")
    copy.unlink()
    with pytest.raises(SettingMissing, match="restic"):  # there may be off-site snapshots
        restore_sources.find_snapshot_source(away, settings)
    with pytest.raises(NotFound, match="plain copy"):
        restore_sources.find_snapshot_source(SYSTEM, settings)

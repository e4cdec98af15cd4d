"""Copying recordings with the real rsync; none is deleted before it is copied."""

from __future__ import annotations

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from barnabee.backup import recordings_copy
from barnabee.core import settings as settings_module
from barnabee.core import system as system_module
from barnabee.core.errors import DependencyDown, SettingMissing
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store import recordings
from support.backup import with_backup_settings
from support.programs import needs_program

pytestmark = needs_program("rsync", "rsync")
NOW = datetime.now(UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("BARNABEE_DATA", str(tmp_path / "data"))
    return settings_module.read_settings(system_module.load_system())


@pytest.fixture
def nas(tmp_path: Path) -> Path:
    nas = tmp_path / "nas"
    nas.mkdir()
    return nas


def make_system(nas: Path) -> System:
    return with_backup_settings(system_module.load_system(), audio_to=str(nas / "audio"))


def record(settings: Settings, days_ago: int, room: str = "kitchen") -> Path:
    moment = NOW - timedelta(days=days_ago)
    folder = settings.data_dir / recordings.FOLDER
    path = recordings.recording_path(folder, moment.date(), room, TRACE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"{room} {days_ago}".encode())
    os.utime(path, (moment.timestamp(), moment.timestamp()))
    return path


def list_copied(nas: Path) -> set[str]:
    return {str(file.relative_to(nas / "audio")) for file in nas.rglob("*") if file.is_file()}


def relative_name(settings: Settings, path: Path) -> str:
    return str(path.relative_to(settings.data_dir / recordings.FOLDER))


def expire(system: System, settings: Settings) -> recordings.ExpiryResult:
    before = recordings_copy.copied_before(system, settings)
    folder = settings.data_dir / recordings.FOLDER
    return recordings.expire_recordings(folder, NOW, system.retention.audio_days, before)


def test_only_complete_recordings_are_copied_and_only_once(settings: Settings, nas: Path) -> None:
    system = make_system(nas)
    files = [record(settings, 0), record(settings, 1), record(settings, 1, "hall")]
    files[0].with_suffix(".wav.part").write_bytes(b"being written")
    (settings.data_dir / recordings.FOLDER / "notes.txt").write_text("a note")

    recordings_copy.copy_recordings(system, settings)
    assert list_copied(nas) == {relative_name(settings, path) for path in files}
    copied = nas / "audio" / relative_name(settings, files[0])
    before = copied.stat()
    assert (copied.read_bytes(), before.st_mtime) == (b"kitchen 0", files[0].stat().st_mtime)
    assert before.st_mode & 0o077 == 0
    recordings_copy.copy_recordings(system, settings)
    assert copied.stat().st_ino == before.st_ino


def test_uncopied_recordings_are_kept_while_the_nas_is_unreachable(
    settings: Settings, nas: Path
) -> None:
    system = make_system(nas)
    days = system.retention.audio_days
    copied = record(settings, days + 2, "hall")
    recordings_copy.copy_recordings(system, settings)
    late = record(settings, days + 1)
    os.utime(late)  # written after the copy, though its day is old
    nas.rename(nas.with_name("away"))

    for number in (1, 2):
        with pytest.raises(DependencyDown, match="No such file"):
            recordings_copy.copy_recordings(system, settings)
        assert recordings_copy.read_state(settings.data_dir).failures == number
    result = expire(system, settings)
    assert (result.deleted_files, result.uncopied_files) == (1, 1)
    assert late.exists()
    assert not copied.exists()

    nas.with_name("away").rename(nas)
    recordings_copy.copy_recordings(system, settings)
    assert recordings_copy.read_state(settings.data_dir).failures == 0
    assert late.exists()


def test_nothing_is_deleted_before_the_first_copy(settings: Settings, nas: Path) -> None:
    old = record(settings, 100)
    assert expire(make_system(nas), settings).uncopied_files == 1
    assert old.exists()
    assert expire(system_module.load_system(), settings).deleted_files == 1  # which copies nowhere
    assert not old.exists()


def test_expired_days_are_deleted_and_an_empty_source_deletes_nothing(
    settings: Settings, nas: Path
) -> None:
    system = make_system(nas)
    days = system.retention.audio_days
    young, old = record(settings, 3), record(settings, days - 1)
    recordings_copy.copy_recordings(system, settings)
    aged = nas / "audio" / (NOW - timedelta(days=days + 5)).date().isoformat()
    (nas / "audio" / relative_name(settings, old)).parent.rename(aged)
    (nas / "audio" / "family photos").mkdir()
    shutil.rmtree(settings.data_dir / recordings.FOLDER)
    (settings.data_dir / recordings.FOLDER).mkdir()

    recordings_copy.copy_recordings(system, settings)

    assert list_copied(nas) == {relative_name(settings, young)}
    assert not aged.exists()
    assert (nas / "audio" / "family photos").is_dir()


def test_without_a_destination_the_setting_is_named(settings: Settings) -> None:
    with pytest.raises(SettingMissing, match=r"backup\.audio_to"):
        recordings_copy.copy_recordings(system_module.load_system(), settings)

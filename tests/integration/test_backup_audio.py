"""Recordings to the house's own storage with the real rsync; nothing goes before it is copied."""

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
from support.backup import with_backup

pytestmark = pytest.mark.skipif(
    shutil.which("rsync") is None, reason="rsync is not installed here: apt-get install rsync"
)
NOW = datetime.now(UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("BARNABEE_DATA", str(tmp_path / "data"))
    return settings_module.load(system_module.load())


@pytest.fixture
def nas(tmp_path: Path) -> Path:
    nas = tmp_path / "nas"
    nas.mkdir()
    return nas


def to(nas: Path) -> System:
    return with_backup(system_module.load(), audio_to=str(nas / "audio"))


def record(settings: Settings, days_ago: int, room: str = "kitchen") -> Path:
    moment = NOW - timedelta(days=days_ago)
    folder = settings.data_dir / recordings.FOLDER
    path = recordings.path_of(folder, moment.date(), room, TRACE)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(f"{room} {days_ago}".encode())
    os.utime(path, (moment.timestamp(), moment.timestamp()))
    return path


def there(nas: Path) -> set[str]:
    return {str(file.relative_to(nas / "audio")) for file in nas.rglob("*") if file.is_file()}


def named(settings: Settings, path: Path) -> str:
    return str(path.relative_to(settings.data_dir / recordings.FOLDER))


def expire(system: System, settings: Settings) -> recordings.Expired:
    before = recordings_copy.copied_before(system, settings)
    folder = settings.data_dir / recordings.FOLDER
    return recordings.expire(folder, NOW, system.retention.audio_days, before)


def test_recordings_are_copied_once_and_what_is_no_recording_is_not(
    settings: Settings, nas: Path
) -> None:
    system = to(nas)
    files = [record(settings, 0), record(settings, 1), record(settings, 1, "hall")]
    files[0].with_suffix(".wav.part").write_bytes(b"being written")
    (settings.data_dir / recordings.FOLDER / "notes.txt").write_text("somebody's")

    recordings_copy.run(system, settings)
    assert there(nas) == {named(settings, path) for path in files}
    copied = nas / "audio" / named(settings, files[0])
    before = copied.stat()
    assert (copied.read_bytes(), before.st_mtime) == (b"kitchen 0", files[0].stat().st_mtime)
    assert before.st_mode & 0o077 == 0
    recordings_copy.run(system, settings)
    assert copied.stat().st_ino == before.st_ino


def test_while_the_nas_is_away_nothing_is_deleted_here_and_failures_are_counted(
    settings: Settings, nas: Path
) -> None:
    system = to(nas)
    days = system.retention.audio_days
    copied = record(settings, days + 2, "hall")
    recordings_copy.run(system, settings)
    late = record(settings, days + 1)
    os.utime(late)  # written after the copy, though its day is old
    nas.rename(nas.with_name("away"))

    for number in (1, 2):
        with pytest.raises(DependencyDown, match="No such file"):
            recordings_copy.run(system, settings)
        assert recordings_copy.state(settings.data_dir).failures == number
    gone = expire(system, settings)
    assert (gone.files, gone.waiting) == (1, 1)
    assert late.exists()
    assert not copied.exists()

    nas.with_name("away").rename(nas)
    recordings_copy.run(system, settings)
    assert recordings_copy.state(settings.data_dir).failures == 0
    assert late.exists()


def test_a_house_that_never_copied_deletes_nothing_until_it_has(
    settings: Settings, nas: Path
) -> None:
    old = record(settings, 100)
    assert expire(to(nas), settings).waiting == 1
    assert old.exists()
    assert expire(system_module.load(), settings).files == 1  # which copies nowhere
    assert not old.exists()


def test_old_days_go_there_too_and_an_empty_disk_here_empties_nothing_there(
    settings: Settings, nas: Path
) -> None:
    system = to(nas)
    days = system.retention.audio_days
    young, old = record(settings, 3), record(settings, days - 1)
    recordings_copy.run(system, settings)
    aged = nas / "audio" / (NOW - timedelta(days=days + 5)).date().isoformat()
    (nas / "audio" / named(settings, old)).parent.rename(aged)
    (nas / "audio" / "family photos").mkdir()
    shutil.rmtree(settings.data_dir / recordings.FOLDER)
    (settings.data_dir / recordings.FOLDER).mkdir()

    recordings_copy.run(system, settings)

    assert there(nas) == {named(settings, young)}
    assert not aged.exists()
    assert (nas / "audio" / "family photos").is_dir()


def test_a_house_without_storage_is_told_which_setting_names_it(settings: Settings) -> None:
    with pytest.raises(SettingMissing, match=r"backup\.audio_to"):
        recordings_copy.run(system_module.load(), settings)

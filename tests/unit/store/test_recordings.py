from __future__ import annotations

import os
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from barnabee.store.recordings import ExpiryResult, expire_recordings, recording_path

NOW = datetime(2025, 6, 30, 12, 0, tzinfo=UTC)
TRACE = "0af7651916cd43dd8448eb211c80319c"


def make(
    folder: Path, day: str, name: str = f"kitchen-{TRACE}.wav", age: timedelta | None = None
) -> Path:
    path = folder / day / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"RIFF")
    moment = (NOW - (age or timedelta())).timestamp()
    os.utime(path, (moment, moment))
    return path


def test_the_path_has_day_room_and_trace_id(tmp_path: Path) -> None:
    path = recording_path(tmp_path, date(2025, 1, 31), "kids-room", TRACE)

    assert path == tmp_path / "2025-01-31" / f"kids-room-{TRACE}.wav"


@pytest.mark.parametrize(("room", "trace_id"), [("..", TRACE), ("a/b", TRACE), ("a", "x")])
def test_a_room_or_trace_id_with_a_path_is_refused(
    tmp_path: Path, room: str, trace_id: str
) -> None:
    with pytest.raises(ValueError, match="not a valid name"):
        recording_path(tmp_path, date(2025, 1, 31), room, trace_id)


def test_the_older_of_day_and_modification_time_decides(tmp_path: Path) -> None:
    young = make(tmp_path, "2025-05-31")  # thirty days ago, to the day
    copied = make(tmp_path, "2025-05-30")  # written now, as a copy would be
    old = make(tmp_path, "2025-05-31", f"attic-{TRACE}.wav", timedelta(days=30, minutes=1))

    result = expire_recordings(tmp_path, NOW, 30)

    assert result == ExpiryResult(deleted_files=2, remaining_files=1, remaining_bytes=4)
    assert young.exists()
    assert not copied.parent.exists()  # the empty folder is deleted too
    assert not old.exists()


def test_links_and_other_files_are_not_deleted(tmp_path: Path) -> None:
    folder, day = tmp_path / "recordings", "2020-01-01"
    elsewhere = make(tmp_path / "music", "2020-01-01", age=timedelta(days=2000))
    foreign = [
        make(folder, day, "notes.txt", timedelta(days=2000)),
        make(folder, day, f"Kitchen {TRACE}.wav", timedelta(days=2000)),
        make(folder, "holiday", age=timedelta(days=2000)),
        make(folder, "2020-02-31", age=timedelta(days=2000)),
        make(folder, "", "top.wav", timedelta(days=2000)),
    ]
    file_link = folder / day / f"attic-{TRACE}.wav"
    file_link.symlink_to(elsewhere)
    day_link = folder / "2020-01-02"
    day_link.symlink_to(elsewhere.parent)
    nested = folder / day / f"cellar-{TRACE}.wav"
    nested.mkdir()

    assert expire_recordings(folder, NOW, 30) == ExpiryResult()

    assert all(path.exists() for path in foreign)
    assert elsewhere.exists()
    assert file_link.is_symlink()
    assert day_link.is_symlink()
    assert nested.is_dir()


def test_an_unfinished_file_is_deleted_after_an_hour(tmp_path: Path) -> None:
    left = make(tmp_path, "2025-06-30", f"a-{TRACE}.wav.part", timedelta(minutes=61))
    being_written = make(tmp_path, "2025-06-30", f"b-{TRACE}.wav.part", timedelta(minutes=1))

    assert expire_recordings(tmp_path, NOW, 30).deleted_files == 1
    assert not left.exists()
    assert being_written.exists()


def test_a_failed_deletion_is_counted_and_the_rest_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stuck = make(tmp_path, "2020-01-01", f"a-{TRACE}.wav")
    make(tmp_path, "2020-01-01", f"b-{TRACE}.wav")
    unlink = os.unlink

    def refusing(path: str) -> None:
        if path == str(stuck):
            raise PermissionError(1, "Operation not permitted")
        unlink(path)

    monkeypatch.setattr(os, "unlink", refusing)
    result = expire_recordings(tmp_path, NOW, 30)
    assert (result.deleted_files, result.failed_files) == (1, 1)
    assert "not permitted" in result.reason


def test_a_missing_folder_is_no_error(tmp_path: Path) -> None:
    assert expire_recordings(tmp_path / "absent", NOW, 30) == ExpiryResult()

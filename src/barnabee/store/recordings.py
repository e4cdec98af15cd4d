"""Recordings of speech as files: their names and their expiry.

    <data>/recordings/2025-01-31/kitchen-0af7651916cd43dd8448eb211c80319c.wav

The day is UTC. Files with other names and all links are left alone.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

FOLDER = "recordings"
# Left behind when the writing process was killed.
PARTIAL_SUFFIX, PARTIAL_MAX_AGE = ".part", timedelta(hours=1)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_FILE = re.compile(r"[a-z][a-z0-9_-]*-[0-9a-f]{32}\.wav(\.part)?")


@dataclass(slots=True)
class ExpiryResult:
    """Counts of deleted, failed and remaining recordings."""

    deleted_files: int = 0
    failed_files: int = 0
    uncopied_files: int = 0  # expired, but not copied yet
    reason: str = ""  # of the last failure
    remaining_files: int = 0
    remaining_bytes: int = 0


def recording_path(folder: Path, day: date, room: str, trace_id: str) -> Path:
    """Return the path of a turn's recording; ValueError when the name is not allowed."""
    name = f"{room}-{trace_id}.wav"
    if not _FILE.fullmatch(name):
        msg = f"{name!r} is not a valid name of a recording"
        raise ValueError(msg)
    return folder / day.isoformat() / name


def expire_recordings(
    folder: Path, now: datetime, days: int, copied_before: datetime | None = None
) -> ExpiryResult:
    """Delete recordings older than `days`, by folder or modification time; blocks.

    With `copied_before`, those written at or after it are not deleted: they have no copy yet.
    """
    oldest, result = now - timedelta(days=days), ExpiryResult()
    for day, path in _list_days(folder):
        for entry in _list_recordings(path):
            try:
                found = entry.stat(follow_symlinks=False)
                written = datetime.fromtimestamp(found.st_mtime, now.tzinfo)
                partial = entry.name.endswith(PARTIAL_SUFFIX) and now - written > PARTIAL_MAX_AGE
                old = day < oldest.date() or written < oldest
                uncopied = old and copied_before is not None and written >= copied_before
                result.uncopied_files += uncopied
                if (old and not uncopied) or partial:
                    os.unlink(entry.path)  # noqa: PTH108 - a path in text is what scandir gives
                    result.deleted_files += 1
                else:
                    result.remaining_files += 1
                    result.remaining_bytes += found.st_size
            except FileNotFoundError:
                continue
            except OSError as error:
                result.failed_files += 1
                result.reason = str(error)
        if day < now.date():
            with suppress(OSError):  # not empty
                path.rmdir()
    return result


def _list_days(folder: Path) -> Iterator[tuple[date, Path]]:
    for entry in _list_entries(folder):
        if _DAY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            with suppress(ValueError):  # 2025-02-31
                yield date.fromisoformat(entry.name), Path(entry.path)


def _list_recordings(folder: Path) -> Iterator[os.DirEntry[str]]:
    for entry in _list_entries(folder):
        if _FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            yield entry


def _list_entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []

"""Recordings of what was said, as files: how they are called, and when they go.

    <data>/recordings/2025-01-31/kitchen-0af7651916cd43dd8448eb211c80319c.wav

The day is that of UTC. Whatever is called otherwise, and every link, is somebody else's and stays.
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
# A file that was being written when its process was killed.
UNFINISHED, UNFINISHED_FOR = ".part", timedelta(hours=1)
_DAY = re.compile(r"\d{4}-\d\d-\d\d")
_FILE = re.compile(r"[a-z][a-z0-9_-]*-[0-9a-f]{32}\.wav(\.part)?")


@dataclass(slots=True)
class Expired:
    """What went, what would not, and what is left."""

    files: int = 0
    refused: int = 0
    waiting: int = 0  # too old, but not copied yet
    reason: str = ""  # of the last that would not
    left_files: int = 0
    left_bytes: int = 0


def path_of(folder: Path, day: date, room: str, trace_id: str) -> Path:
    """Return where the recording of a turn lies; ValueError when it cannot be called so."""
    name = f"{room}-{trace_id}.wav"
    if not _FILE.fullmatch(name):
        msg = f"no recording can be called {name!r}"
        raise ValueError(msg)
    return folder / day.isoformat() / name


def expire(
    folder: Path, now: datetime, days: int, copied_before: datetime | None = None
) -> Expired:
    """Delete what is older than `days`, by its day or by when it was written; blocks.

    Where recordings are copied elsewhere, what was not written `copied_before` stays.
    """
    oldest, gone = now - timedelta(days=days), Expired()
    for day, path in _days(folder):
        for entry in _recordings(path):
            try:
                found = entry.stat(follow_symlinks=False)
                written = datetime.fromtimestamp(found.st_mtime, now.tzinfo)
                unfinished = entry.name.endswith(UNFINISHED) and now - written > UNFINISHED_FOR
                old = day < oldest.date() or written < oldest
                waits = old and copied_before is not None and written >= copied_before
                gone.waiting += waits
                if (old and not waits) or unfinished:
                    os.unlink(entry.path)  # noqa: PTH108 - a path in text is what scandir gives
                    gone.files += 1
                else:
                    gone.left_files += 1
                    gone.left_bytes += found.st_size
            except FileNotFoundError:
                continue
            except OSError as error:
                gone.refused += 1
                gone.reason = str(error)
        if day < now.date():
            with suppress(OSError):  # there is something left in it
                path.rmdir()
    return gone


def _days(folder: Path) -> Iterator[tuple[date, Path]]:
    for entry in _entries(folder):
        if _DAY.fullmatch(entry.name) and entry.is_dir(follow_symlinks=False):
            with suppress(ValueError):  # 2025-02-31
                yield date.fromisoformat(entry.name), Path(entry.path)


def _recordings(folder: Path) -> Iterator[os.DirEntry[str]]:
    for entry in _entries(folder):
        if _FILE.fullmatch(entry.name) and entry.is_file(follow_symlinks=False):
            yield entry


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return []

"""Database file on disk: replaced in one step, and what was there is moved aside, never deleted.

The write-ahead log of an open database must stay the file that SQLite opened: what is written to a
deleted file is gone after the next restart. A process still has the deleted file open, and so can
put its content back.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

import structlog

from barnabee.core.files import sync_directory, sync_file
from barnabee.store.sqlite import SHARED_MODE

FileId = tuple[int, int]  # device and inode
LogIds = tuple[FileId | None, FileId | None]  # of the write-ahead log and its index
# Where log and index have the salt of the log, and the index the number of valid frames
# (sqlite.org/walformat.html).
_START_BYTES = 100
_LOG_HEADER_BYTES = 32
_LOG_MAGIC, _FRAME_HEADER_BYTES = b"\x37\x7f\x06", 24
_LOG_SALT, _INDEX_SALT, _INDEX_FRAMES = slice(16, 24), slice(32, 40), slice(16, 20)
_INDEX_PAGE, _INDEX_CHECKPOINTED = slice(14, 16), slice(96, 100)

log = structlog.get_logger()


def has_database(path: Path) -> bool:
    """Return whether `path` is a file of more than 0 bytes."""
    return path.exists() and path.stat().st_size > 0


def move_aside(path: Path, now: datetime) -> Path | None:
    """Move the database with its logs into a new folder and return that; None if there was none.

    Litestream's state is moved too: it does not fit another database.
    """
    candidates = [path, *(path.with_name(path.name + end) for end in ("-wal", "-shm", "-journal"))]
    candidates.append(path.with_name(f".{path.name}-litestream"))
    existing = [candidate for candidate in candidates if candidate.exists()]
    if not existing:
        return None
    folder = path.parent / f"{path.name}.before-restore-{now:%Y%m%dT%H%M%S.%fZ}"
    folder.mkdir(mode=0o700)
    for file in existing:
        file.rename(folder / file.name)
    return folder


def replace_database(copy: Path, path: Path) -> Path | None:
    """Rename `copy` to `path`, durable when this returns.

    Returns the folder of the previous database, None if there was none. On OSError the previous
    database is put back.
    """
    copy.chmod(SHARED_MODE)  # the services run as different users of one group
    sync_file(copy)
    previous = move_aside(path, datetime.now(UTC))
    try:
        copy.replace(path)
    except OSError:
        _undo_move_aside(previous, path.parent)
        raise
    sync_directory(path.parent)
    return previous


def _undo_move_aside(folder: Path | None, directory: Path) -> None:
    if folder is not None:
        for file in folder.iterdir():
            file.rename(directory / file.name)
        folder.rmdir()


@contextmanager
def open_read_only(database: Path) -> Iterator[sqlite3.Connection]:
    """Read a database whose services are stopped, its log included, without checkpointing it."""
    uri = f"{database.absolute().as_uri()}?mode=ro"  # closing a read-only connection keeps the log
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None, timeout=5)) as connection:
        yield connection


def file_id(path: str | Path) -> FileId | None:
    """Return device and inode of a file, None if there is none."""
    try:
        found = os.stat(path)  # noqa: PTH116 - before every write: half the time of Path.stat
    except FileNotFoundError:
        return None
    return found.st_dev, found.st_ino


def log_ids(path: Path) -> LogIds:
    """Return which files are the write-ahead log of a database and its index now."""
    return file_id(f"{path}-wal"), file_id(f"{path}-shm")


def put_back_log(path: Path, opened: LogIds) -> None:
    """Put back the write-ahead log that this process has open, if another file is in its place.

    Called in a write transaction, so that no other process writes. The index says which log is the
    right one; a wrong one is kept under another name.
    """
    wal = path.with_name(f"{path.name}-wal")
    if file_id(wal) == opened[0]:
        return  # only the index was replaced: the next connection makes a new one
    salt, frames = None, 1
    if file_id(f"{path}-shm") == opened[1]:
        index = _read_index(path)
        salt, frames = index[_INDEX_SALT], int.from_bytes(index[_INDEX_FRAMES], sys.byteorder)
    found = _read_start(wal)[_LOG_SALT]
    if not frames or (found and salt in {None, found}):
        return  # nothing to put back, or another process has done so
    source = _find_open_file(opened[0])
    if source is None or salt not in {None, _read_start(source)[_LOG_SALT]}:
        log.error("database_log_lost", code="database_corrupt", path=str(wal))
        return
    kept = wal.with_name(f"{wal.name}.replaced-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    copy = wal.with_name(f".{wal.name}.{os.getpid()}")
    shutil.copyfile(source, copy)
    copy.chmod(SHARED_MODE)
    sync_file(copy)
    if found:
        wal.rename(kept)
    copy.replace(wal)
    sync_directory(path.parent)
    log.error(
        "database_log_put_back",
        code="database_corrupt",
        path=str(wal),
        kept=str(kept) if found else None,
    )


def count_lost_commits(path: Path) -> int:
    """Return how many transactions are in the write-ahead log that SQLite cannot read.

    They are behind damage, at which SQLite stops without an error. -1: damage of unknown extent.
    """
    index = _read_index(path)
    try:
        with Path(f"{path}-wal").open("rb") as wal:
            header, size = wal.read(_START_BYTES), os.fstat(wal.fileno()).st_size
            if size <= _LOG_HEADER_BYTES:
                return 0
            if header[:3] != _LOG_MAGIC:
                return -1
            if header[_LOG_SALT] != index[_INDEX_SALT]:
                return 0  # what it holds is in the database
            frame_bytes = _FRAME_HEADER_BYTES + int.from_bytes(header[8:12])
            first = int.from_bytes(index[_INDEX_FRAMES], sys.byteorder)
            lost, has_zeros = 0, False
            begin = _LOG_HEADER_BYTES + first * frame_bytes
            for offset in range(begin, size - frame_bytes + 1, frame_bytes):
                frame = os.pread(wal.fileno(), _FRAME_HEADER_BYTES, offset)
                has_zeros = has_zeros or not any(frame)  # SQLite never writes such a frame
                lost += frame[8:16] == header[_LOG_SALT] and any(frame[4:8])
            return lost or -has_zeros
    except FileNotFoundError:
        return 0


def report_missing_frames(path: Path) -> None:
    """Log how many pages of the write-ahead log are missing, according to its index.

    Called before SQLite opens the database, which would make a new index without an error.
    """
    index = _read_index(path)
    if len(index) < _START_BYTES or index[:48] != index[48:96]:
        return  # there is none, or it was being written
    wal = Path(f"{path}-wal")
    is_same = _read_start(wal)[_LOG_SALT] == index[_INDEX_SALT]
    page_bytes = int.from_bytes(index[_INDEX_PAGE], sys.byteorder)
    size = wal.stat().st_size if is_same else 0
    present = max(size - _LOG_HEADER_BYTES, 0) // (_FRAME_HEADER_BYTES + page_bytes)
    checkpointed = int.from_bytes(index[_INDEX_CHECKPOINTED], sys.byteorder)
    expected = int.from_bytes(index[_INDEX_FRAMES], sys.byteorder)
    lost = expected - max(present, checkpointed)
    if lost > 0:
        log.error("database_log_cut", code="database_corrupt", lost_pages=lost, path=str(wal))


def keep_damaged_log(path: Path) -> None:
    """Copy a write-ahead log that SQLite cannot read to its end, before it is overwritten."""
    lost = count_lost_commits(path)
    if not lost:
        return
    wal = path.with_name(f"{path.name}-wal")
    kept = wal.with_name(f"{wal.name}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}")
    shutil.copyfile(wal, kept)
    lost_text = str(lost) if lost > 0 else "unknown"
    log.error(
        "database_log_damaged", code="database_corrupt", lost_transactions=lost_text, kept=str(kept)
    )


def _find_open_file(wanted: FileId | None) -> Path | None:
    """Return the descriptor in /proc of a file that this process has open, maybe a deleted one."""
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            if wanted is not None and file_id(descriptor) == wanted:
                return descriptor
    return None


def _read_index(path: Path) -> bytes:
    """Return the start of the log's index.

    Read through SQLite's own descriptor, if this process has one: to close another one of the file
    would release the locks that SQLite holds on it (fcntl(2)).
    """
    index = Path(f"{path}-shm")
    opened = _find_open_file(file_id(index))
    return os.pread(int(opened.name), _START_BYTES, 0) if opened else _read_start(index)


def _read_start(file: Path) -> bytes:
    try:
        with file.open("rb") as opened:
            return opened.read(_START_BYTES)
    except FileNotFoundError:
        return b""

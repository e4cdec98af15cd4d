"""Atomic file replacement and lock files. Blocking; no knowledge of what is stored."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from barnabee.core.errors import BarnabeeError

STAT_EVERY_S = 0.5
FileVersion = tuple[Path, int, int]  # time of change in ns, bytes


def write_atomically(
    path: Path,
    content: bytes | str,
    *,
    mode: int = 0o644,
    durable: bool = False,
    owner: tuple[int, int] | None = None,
) -> None:
    """Replace the content of `path`: a reader sees the old file or the new one, never a part.

    `durable` syncs the file and its directory, so that the new content survives a power cut.
    `owner` is the user and group id of the file if this process is root.
    Raises OSError and leaves the old file in place.
    """
    data = content.encode() if isinstance(content, str) else content
    scratch = path.with_name(f".{path.name}.{os.getpid()}.new")
    try:
        handle = os.open(scratch, os.O_CREAT | os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC, mode)
        with os.fdopen(handle, "wb") as file:
            os.fchmod(file.fileno(), mode)  # whatever the umask is
            if owner is not None and os.geteuid() == 0:
                os.fchown(file.fileno(), *owner)
            file.write(data)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        scratch.replace(path)
    except OSError:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def sync_directory(directory: Path) -> None:
    """Make renames in `directory` survive a power cut."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def sync_file(path: Path) -> None:
    """Make the content of `path` survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextmanager
def lock_file(
    path: Path, *, mode: int = 0o660, if_taken: BarnabeeError | None = None
) -> Iterator[None]:
    """Hold an exclusive lock on `path` for the block; the kernel releases it when the holder dies.

    Waits for another holder, or raises `if_taken` at once where one is given.
    """
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, mode)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (fcntl.LOCK_NB if if_taken else 0))
        except BlockingIOError as error:
            if if_taken is None:
                raise
            raise if_taken from error
        yield
    finally:
        os.close(handle)


def read_versions(files: Iterable[Path]) -> tuple[FileVersion, ...]:
    """Return the versions of `files`, for a comparison; files that cannot be seen are left out."""
    found = []
    for file in files:
        with suppress(OSError):
            status = file.stat()
            found.append((file, status.st_mtime_ns, status.st_size))
    return tuple(found)


class WatchedFile:
    """Content of a file, read again after the file was replaced; None before it exists.

    A file that disappears or cannot be read keeps its last content.
    """

    def __init__(self, path: Path, every_s: float = STAT_EVERY_S) -> None:
        self._path, self._every_s = path, every_s
        self._checked_s = float("-inf")
        self._signature: tuple[int, int, int] | None = None
        self._text: str | None = None

    def read(self, *, now: bool = False) -> str | None:
        """Return the content, which is at most `every_s` old, or not at all with `now`."""
        clock_s = time.monotonic()
        if now or clock_s - self._checked_s >= self._every_s:
            self._checked_s = clock_s
            try:
                status = self._path.stat()
                signature = (status.st_ino, status.st_mtime_ns, status.st_size)
                if signature != self._signature:
                    self._text = self._path.read_text(encoding="utf-8")
                    self._signature = signature
            except (OSError, UnicodeDecodeError):
                pass
        return self._text

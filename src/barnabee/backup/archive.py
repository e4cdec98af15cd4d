"""A database file into one small sealed file and back: compressed, hashed, encrypted.

Both ways are streams: nothing here holds more than a few megabytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import zstandard

from barnabee.backup.consistent_copy import Progress

if TYPE_CHECKING:
    from pyrage.x25519 import Identity, Recipient

CHUNK = 1024 * 1024
# Beside gzip's fastest: as small or smaller, a quarter of the time to pack and to unpack.
LEVEL = 1


@dataclass(frozen=True)
class Packed:
    """What was packed: sizes and hashes, of the database and of the file it became."""

    database_bytes: int
    database_sha256: str
    file_bytes: int
    file_sha256: str


def _nothing() -> None:
    return


def _nobody(_done: int, _all: int) -> None:
    return


def sha256_of(path: Path, pause: Callable[[], None] = _nothing) -> str:
    """Return the hash of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK):
            digest.update(chunk)
            pause()
    return digest.hexdigest()


def pack(
    database: Path,
    target: Path,
    recipients: Sequence[Recipient],
    *,
    pause: Callable[[], None] = _nothing,
    progress: Progress = _nobody,
) -> Packed:
    """Write `database` to `target`, for `recipients` alone if there are any; durable when done.

    OSError when the disk does not want to.
    """
    with database.open("rb") as source, target.open("xb") as file:
        target.chmod(0o640)
        reader = _Compressing(source, database.stat().st_size, pause, progress)
        writer = _Hashing(file)
        if recipients:
            _encrypt(reader, writer, recipients)
        else:
            while chunk := reader.read(CHUNK):
                writer.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return Packed(reader.taken, reader.digest.hexdigest(), writer.written, writer.hexdigest())


def unpack(
    source: IO[bytes],
    target: Path,
    identities: Sequence[Identity] | None,
    expected: Packed,
    *,
    pause: Callable[[], None] = _nothing,
    progress: Progress = _nobody,
) -> None:
    """Write the database in `source` to the file `target`; None as identities: not encrypted.

    ValueError says what is wrong: a key that does not fit, a file that is not what was packed.
    """
    reader = _Counted(source, expected.file_bytes, pause, progress)
    with target.open("wb") as file:
        writer = _Decompressing(file, expected.database_bytes)
        try:
            if identities is None:
                while chunk := reader.read(CHUNK):
                    writer.write(chunk)
            else:
                _decrypt(reader, writer, identities)
        except zstandard.ZstdError as error:
            raise ValueError(f"it cannot be decompressed: {error}") from error
        reader.rest()
        writer.end()
        if reader.digest.hexdigest() != expected.file_sha256:
            raise ValueError(f"its checksum is not that of {expected.file_bytes} bytes written")
        if writer.digest.hexdigest() != expected.database_sha256:
            raise ValueError("what is in it is not the database that was put into it")
        file.flush()
        os.fsync(file.fileno())


def _encrypt(reader: Any, writer: Any, recipients: Sequence[Recipient]) -> None:
    import pyrage  # noqa: PLC0415 - see `keys.make_kit`

    try:
        pyrage.encrypt_io(reader, writer, list(recipients))
    except pyrage.EncryptError as error:  # wraps whatever reader and writer raised
        raise OSError(str(error)) from error


def _decrypt(reader: Any, writer: _Decompressing, identities: Sequence[Identity]) -> None:
    import pyrage  # noqa: PLC0415 - see `keys.make_kit`

    try:
        pyrage.decrypt_io(reader, writer, list(identities))
    except pyrage.DecryptError as error:
        if writer.failure is not None:
            raise writer.failure from error
        raise ValueError(f"it cannot be opened with this key: {error}") from error
    except OSError as error:
        if writer.failure is not None:
            raise writer.failure from error
        raise ValueError(f"it is damaged or cut short: {error}") from error


class _Compressing:
    """Reads a file, compressed."""

    def __init__(
        self, source: IO[bytes], size: int, pause: Callable[[], None], progress: Progress
    ) -> None:
        self._source, self._size, self._pause, self._progress = source, size, pause, progress
        self._compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True).compressobj()
        self._ready = bytearray()
        self._ended = False
        self.taken = 0
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        wanted = size if size > 0 else CHUNK
        while len(self._ready) < wanted and not self._ended:
            chunk = self._source.read(CHUNK)
            self.taken += len(chunk)
            self.digest.update(chunk)
            self._ready += self._compressor.compress(chunk) if chunk else self._compressor.flush()
            self._ended = not chunk
            self._progress(self.taken, self._size)
            self._pause()
        found = bytes(self._ready[:wanted])
        del self._ready[:wanted]
        return found


class _Hashing:
    """Writes to a file and knows what it wrote."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.written = 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._digest.update(data)
        self.written += len(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


class _Counted:
    """Reads a file and knows what it read."""

    def __init__(
        self, source: IO[bytes], size: int, pause: Callable[[], None], progress: Progress
    ) -> None:
        self._source, self._size, self._pause, self._progress = source, size, pause, progress
        self.taken = 0
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        found = self._source.read(size if size > 0 else CHUNK)
        self.digest.update(found)
        self.taken += len(found)
        self._progress(self.taken, self._size)
        self._pause()
        return found

    def rest(self) -> None:
        """Read what nobody asked for, so that the hash is of the whole file."""
        while self.read(CHUNK):
            pass


class _Decompressing:
    """Decompresses what is written to it into a file, up to the size that was promised."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._plain = _Promised(file, size)
        # A stream, because it hands on small pieces whatever a damaged file swells to.
        self._stream = zstandard.ZstdDecompressor().stream_writer(self._plain, closefd=False)  # type: ignore[arg-type]
        self.failure: Exception | None = None

    @property
    def digest(self) -> hashlib._Hash:
        return self._plain.digest

    def write(self, data: bytes) -> int:
        try:
            self._stream.write(data)
        except (zstandard.ZstdError, OSError, ValueError) as error:
            self.failure = error  # age would tell its own story instead
            raise
        return len(data)

    def flush(self) -> None:
        self._plain.flush()

    def end(self) -> None:
        self.flush()
        if self._plain.left:
            raise ValueError("it is cut short")


class _Promised:
    """Writes to a file as many bytes as were promised, and no more."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self.left = file, size
        self.digest = hashlib.sha256()

    def write(self, found: bytes) -> int:
        self.left -= len(found)
        if self.left < 0:
            raise ValueError("there is more in it than was put into it")
        self._file.write(found)
        self.digest.update(found)
        return len(found)

    def flush(self) -> None:
        self._file.flush()

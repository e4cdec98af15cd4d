"""Archive of a database file: compressed with zstd, hashed with SHA-256, encrypted with age.

Packing and unpacking are streams that hold a few megabytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import zstandard

from barnabee.backup.consistent_copy import ByteProgress

if TYPE_CHECKING:
    from pyrage.x25519 import Identity, Recipient

CHUNK_BYTES = 1024 * 1024
ZSTD_LEVEL = 1  # as small as gzip's fastest level in a quarter of its time


@dataclass(frozen=True)
class ArchiveInfo:
    """Sizes and hashes of a packed database and of its archive file."""

    database_bytes: int
    database_sha256: str
    file_bytes: int
    file_sha256: str


def _no_pause() -> None:
    return


def _no_progress(_done: int, _total: int) -> None:
    return


def hash_file(path: Path, pause: Callable[[], None] = _no_pause) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
            pause()
    return digest.hexdigest()


def pack_database(
    database: Path,
    target: Path,
    recipients: Sequence[Recipient],
    *,
    pause: Callable[[], None] = _no_pause,
    on_progress: ByteProgress = _no_progress,
) -> ArchiveInfo:
    """Write `database` to the new file `target`, encrypted if there are `recipients`; durable.

    Raises OSError.
    """
    with database.open("rb") as source, target.open("xb") as file:
        target.chmod(0o640)
        reader = _CompressingReader(source, database.stat().st_size, pause, on_progress)
        writer = _HashingWriter(file)
        if recipients:
            _encrypt(reader, writer, recipients)
        else:
            while chunk := reader.read(CHUNK_BYTES):
                writer.write(chunk)
        file.flush()
        os.fsync(file.fileno())
    return ArchiveInfo(
        *(reader.bytes_read, reader.digest.hexdigest()), *(writer.bytes_written, writer.hexdigest())
    )


def unpack_database(
    source: IO[bytes],
    target: Path,
    identities: Sequence[Identity] | None,
    expected: ArchiveInfo,
    *,
    on_progress: ByteProgress = _no_progress,
) -> None:
    """Write the database in `source` to the file `target`; `identities` None: not encrypted.

    Raises ValueError when no key opens it or the content is not what was packed.
    """
    reader = _HashingReader(source, expected.file_bytes, on_progress)
    with target.open("wb") as file:
        writer = _DecompressingWriter(file, expected.database_bytes)
        try:
            if identities is None:
                while chunk := reader.read(CHUNK_BYTES):
                    writer.write(chunk)
            else:
                _decrypt(reader, writer, identities)
        except zstandard.ZstdError as error:
            raise ValueError(f"it cannot be decompressed: {error}") from error
        reader.read_rest()
        writer.finish()
        if reader.digest.hexdigest() != expected.file_sha256:
            raise ValueError(f"its checksum is not that of {expected.file_bytes} bytes written")
        if writer.digest.hexdigest() != expected.database_sha256:
            raise ValueError("the database in it is not the one that was packed")
        file.flush()
        os.fsync(file.fileno())


def _encrypt(reader: Any, writer: Any, recipients: Sequence[Recipient]) -> None:
    import pyrage  # noqa: PLC0415 - see `keys.make_kit`

    try:
        pyrage.encrypt_io(reader, writer, list(recipients))
    except pyrage.EncryptError as error:  # wraps what reader and writer raised
        raise OSError(str(error)) from error


def _decrypt(reader: Any, writer: _DecompressingWriter, identities: Sequence[Identity]) -> None:
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


class _CompressingReader:
    """Reads a file and returns it compressed."""

    def __init__(
        self, source: IO[bytes], size: int, pause: Callable[[], None], on_progress: ByteProgress
    ) -> None:
        self._source, self._size, self._pause, self._on_progress = source, size, pause, on_progress
        self._compressor = zstandard.ZstdCompressor(
            level=ZSTD_LEVEL, write_checksum=True
        ).compressobj()
        self._ready = bytearray()
        self._ended = False
        self.bytes_read = 0
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        wanted = size if size > 0 else CHUNK_BYTES
        while len(self._ready) < wanted and not self._ended:
            chunk = self._source.read(CHUNK_BYTES)
            self.bytes_read += len(chunk)
            self.digest.update(chunk)
            self._ready += self._compressor.compress(chunk) if chunk else self._compressor.flush()
            self._ended = not chunk
            self._on_progress(self.bytes_read, self._size)
            self._pause()
        result = bytes(self._ready[:wanted])
        del self._ready[:wanted]
        return result


class _HashingWriter:
    """Writes to a file; counts and hashes what it writes."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self._digest = hashlib.sha256()
        self.bytes_written = 0

    def write(self, data: bytes) -> int:
        self._file.write(data)
        self._digest.update(data)
        self.bytes_written += len(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

    def hexdigest(self) -> str:
        return self._digest.hexdigest()


class _HashingReader:
    """Reads a file; counts and hashes what it reads."""

    def __init__(self, source: IO[bytes], size: int, on_progress: ByteProgress) -> None:
        self._source, self._size, self._on_progress = source, size, on_progress
        self.bytes_read = 0
        self.digest = hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        chunk = self._source.read(size if size > 0 else CHUNK_BYTES)
        self.digest.update(chunk)
        self.bytes_read += len(chunk)
        self._on_progress(self.bytes_read, self._size)
        return chunk

    def read_rest(self) -> None:
        """Read to the end, so that the hash is of the whole file."""
        while self.read(CHUNK_BYTES):
            pass


class _DecompressingWriter:
    """Decompresses into a file, up to the expected size."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._plain = _BoundedWriter(file, size)
        # A stream writer passes on small pieces, however large a damaged file decompresses.
        self._stream = zstandard.ZstdDecompressor().stream_writer(self._plain, closefd=False)  # type: ignore[arg-type]
        self.failure: Exception | None = None

    @property
    def digest(self) -> hashlib._Hash:
        return self._plain.digest

    def write(self, data: bytes) -> int:
        try:
            self._stream.write(data)
        except (zstandard.ZstdError, OSError, ValueError) as error:
            self.failure = error  # age raises its own error in place of it
            raise
        return len(data)

    def flush(self) -> None:
        self._plain.flush()

    def finish(self) -> None:
        self.flush()
        if self._plain.remaining:
            raise ValueError("it is cut short")


class _BoundedWriter:
    """Writes at most the expected number of bytes to a file."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file, self.remaining = file, size
        self.digest = hashlib.sha256()

    def write(self, data: bytes) -> int:
        self.remaining -= len(data)
        if self.remaining < 0:
            raise ValueError("it holds more than was packed")
        self._file.write(data)
        self.digest.update(data)
        return len(data)

    def flush(self) -> None:
        self._file.flush()

"""Reader of the snapshots that versions before restic made: one archive each, with a description.

20250131T031000Z.db.zst.age    zstd in age; without a recovery key .db.zst
20250131T031000Z.json          the SHA-256 of the database in it
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import zstandard

from barnabee.backup.consistent_copy import ByteProgress
from barnabee.core.errors import BadInput, NotFound
from barnabee.core.files import sync_file

SECRET_PREFIX = "AGE-SECRET-KEY-1"  # noqa: S105 - the prefix of every secret key
_ENCRYPTED = ".age"


@dataclass(frozen=True)
class LegacySource:
    """One archive; `key` is its recovery kit or the file `machine.key` beside it."""

    file: Path
    key: str | None

    @property
    def name(self) -> str:
        return f"the snapshot {self.file}"

    def describe(self) -> list[str]:
        return [f"{self.file.name}, {self.file.stat().st_size} bytes"]

    async def fetch(self, target: Path, on_progress: ByteProgress) -> None:
        on_progress(0, 0)
        await asyncio.to_thread(read_archive, self.file, self.key, target)


def find_legacy_source(file: Path, key: str | None) -> LegacySource:
    """Return `file` as a source; NotFound without it, BadInput when it needs a key."""
    if not file.is_file():
        raise NotFound(what=f"snapshot {file}")
    if file.suffix == _ENCRYPTED:
        _parse_identity(key or "")
    return LegacySource(file, key)


def read_archive(file: Path, key: str | None, target: Path) -> None:
    """Write the database in an archive to `target`; ValueError when it is damaged or locked."""
    compressed = target.with_name(f"{target.name}.tmp")
    try:
        description = file.with_name(file.name.partition(".")[0] + ".json")
        expected = json.loads(description.read_text(encoding="utf-8"))["packed"]["database_sha256"]
        with file.open("rb") as source, compressed.open("w+b") as plain:
            if file.suffix == _ENCRYPTED:
                _decrypt(source, plain, key or "")
            else:
                shutil.copyfileobj(source, plain)
            plain.seek(0)
            with target.open("wb") as database:
                zstandard.ZstdDecompressor().copy_stream(plain, database)
        with target.open("rb") as database:
            if hashlib.file_digest(database, "sha256").hexdigest() != expected:
                raise ValueError("the database in it is not the one that was packed")
        sync_file(target)
    except (OSError, KeyError, TypeError, zstandard.ZstdError) as error:
        raise ValueError(f"it is damaged or cut short: {error}") from error
    finally:
        compressed.unlink(missing_ok=True)


def _decrypt(source: IO[bytes], plain: IO[bytes], key: str) -> None:
    import pyrage  # noqa: PLC0415 - 5 MiB that only this needs

    try:
        pyrage.decrypt_io(source, plain, [_parse_identity(key)])
    except pyrage.DecryptError as error:
        raise ValueError(f"it cannot be opened with this key: {error}") from error


def _parse_identity(text: str) -> Any:
    """Return the key in `text`, which may be the whole kit; BadInput, which does not quote it."""
    from pyrage import IdentityError, x25519  # noqa: PLC0415 - see `_decrypt`

    words = [word for word in text.split() if word.upper().startswith(SECRET_PREFIX)]
    if not words:
        raise BadInput(what=f"The snapshot is encrypted: give a line {SECRET_PREFIX}… with --key")
    try:
        return x25519.Identity.from_str(words[0].upper())
    except IdentityError as error:
        reason = "a letter is wrong or missing"
        raise BadInput(what=f"The key is not valid: {reason}") from error

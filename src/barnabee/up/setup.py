"""Set-up of a machine before the first start: Redis, models, Home Assistant, dashboard.

Independent steps run concurrently, and a finished step is only verified. Parts that cannot be
installed are reported with the reason.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

from rich.console import Console

from barnabee.core import manifest, settings
from barnabee.core.errors import (
    BarnabeeError,
    ModelDamaged,
    ModelMissing,
    SetupFailed,
)
from barnabee.core.schema import System
from barnabee.up import (
    dashboard,
    home_assistant,
    inventory,
    model_pins,
    monitoring_services,
    packages,
    paths,
)
from barnabee.up.console import ProgressSteps, show_progress
from barnabee.up.dashboard import NodeProvider

_LEFTOVER_AGE_S = 3600.0


def prepare_machine(
    system: System,
    console: Console,
    *,
    demo_home: bool,
    monitoring: bool = False,
    llm: bool = False,
) -> Path | None:
    """Run every step; return Home Assistant's virtual environment if `demo_home`.

    Raises SetupFailed (before any download when the disk is too small), DependencyDown or
    ModelDamaged.
    """
    if llm:
        model_pins.require_processor()
    inventory.require_space(inventory.list_downloads(system, demo_home=demo_home, llm=llm))
    folders = inventory.list_model_folders(system, settings.read_settings(system).device)
    folders += model_pins.FOLDERS if llm else ()
    with show_progress(console) as steps:
        return asyncio.run(_prepare(folders, steps, demo_home=demo_home, monitoring=monitoring))


async def _prepare(
    model_folders: list[str], steps: ProgressSteps, *, demo_home: bool, monitoring: bool
) -> Path | None:
    home: asyncio.Task[Path] | None = None
    await asyncio.to_thread(_remove_leftovers, paths.cache_directory())
    try:
        async with NodeProvider() as node, asyncio.TaskGroup() as group:
            group.create_task(_install_packages(steps, monitoring=monitoring))
            group.create_task(_fetch_models(model_folders, steps, node))
            group.create_task(dashboard.ensure_dashboard(steps.print_line, node))
            if demo_home:
                home = group.create_task(home_assistant.ensure_home_assistant(steps))
    except* BarnabeeError as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    return home.result() if home is not None else None


def _remove_leftovers(cache: Path) -> None:
    """Delete the scratch directories of runs that were killed."""
    for pattern in (".node-*", ".dashboard-*"):
        for directory in cache.glob(pattern):
            if time.time() - directory.stat().st_mtime > _LEFTOVER_AGE_S:
                shutil.rmtree(directory, ignore_errors=True)


async def fetch_models(names: list[str], steps: ProgressSteps) -> list[str]:
    """Fetch and verify the models; return those that are intact.

    A model without pins is the user's own: it is only verified, and reported when it is not intact.
    """
    async with NodeProvider() as node:
        return await _fetch_models(names, steps, node)


async def _fetch_models(names: list[str], steps: ProgressSteps, node: NodeProvider) -> list[str]:
    from barnabee.up import model_pins, models  # noqa: PLC0415 - reads the pins

    pinned = [name for name in names if name in model_pins.load_pins().model]
    await models.ensure_models(pinned, paths.models_directory(), steps.report, node)
    for name in names:
        if name in pinned:
            continue
        try:
            await asyncio.to_thread(manifest.verify_directory, paths.models_directory() / name)
        except (ModelMissing, ModelDamaged) as error:
            reason = _describe_own_model(name, error)
            steps.print_line(f"{name} is not pinned, so it cannot be fetched: {reason}")
        else:
            pinned.append(name)
    return sorted(pinned)


def _describe_own_model(name: str, error: BarnabeeError) -> str:
    directory = paths.models_directory() / name
    if isinstance(error, ModelMissing):
        return f"put its files into {directory}, then run `barnabee models seal {name}`"
    return f"{error.fields['path']}: {error.fields['reason']}"


async def _install_packages(steps: ProgressSteps, *, monitoring: bool) -> None:
    """Install one package after the other: dpkg has a global lock."""
    await _install_redis(steps)
    await _install_restic(steps)
    for name in monitoring_services.PROGRAMS.values() if monitoring else ():
        if shutil.which(name):
            continue
        if not packages.can_install_packages():
            hint = f"install the Debian package {name}, or leave off --monitoring"
            raise SetupFailed(what=name, reason="only root may install Debian packages", hint=hint)
        await packages.install_package(name, steps.print_line)


async def _install_redis(steps: ProgressSteps) -> None:
    if shutil.which("redis-server") or shutil.which("valkey-server"):
        return
    if packages.can_install_packages():
        await packages.install_package("redis-server", steps.print_line)
        return
    reason = "apt-get is missing" if os.geteuid() == 0 else "only root may install Debian packages"
    steps.print_line(f"redis-server: not installed ({reason}); the packaged Valkey runs instead")


async def _install_restic(steps: ProgressSteps) -> None:
    """Without it snapshots are plain copies, and the status tells."""
    if shutil.which("restic"):
        return
    if packages.can_install_packages():
        await packages.install_package("restic", steps.print_line)
    else:
        steps.print_line("restic: not installed; snapshots are plain copies on this disk")

"""Set-up of a machine before the first start: Redis, models, Home Assistant, dashboard.

Independent steps run concurrently, and a finished step is only verified. Parts that cannot be
installed are reported with the reason.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from rich.console import Console

from barnabee.core import manifest, settings
from barnabee.core.errors import (
    BarnabeeError,
    ModelDamaged,
    ModelMissing,
    SettingInvalid,
    SetupFailed,
)
from barnabee.core.schema import System
from barnabee.up import dashboard, monitoring_services, packages, paths
from barnabee.up.console import ProgressSteps, show_progress

_HOME_ASSISTANT = "Home Assistant"


def list_model_folders(system: System, device: str = "cpu") -> list[str]:
    """Return the directories of the models of `system` for a device ("cpu" or "cuda")."""
    models = system.model.values()
    folders = [model.cuda_files if device == "cuda" else model.cpu_files for model in models]
    return sorted({folder for folder in folders if folder})


def prepare_machine(
    system: System, console: Console, *, demo_home: bool, monitoring: bool = False
) -> Path | None:
    """Run every step; return Home Assistant's virtual environment if `demo_home`.

    Raises SetupFailed, DependencyDown or ModelDamaged.
    """
    with show_progress(console) as steps:
        return asyncio.run(_prepare(system, steps, demo_home=demo_home, monitoring=monitoring))


async def _prepare(
    system: System, steps: ProgressSteps, *, demo_home: bool, monitoring: bool
) -> Path | None:
    requirements = paths.home_assistant_requirements()
    home = paths.home_assistant_venv(requirements) if demo_home else None
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_install_packages(steps, monitoring=monitoring))
            names = list_model_folders(system, settings.read_settings(system).device)
            group.create_task(fetch_models(names, steps))
            group.create_task(dashboard.ensure_dashboard(steps.print_line))
            if home is not None:
                group.create_task(_install_home_assistant(home, requirements, steps))
    except* BarnabeeError as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    return home


async def fetch_models(names: list[str], steps: ProgressSteps) -> list[str]:
    """Fetch and verify the models; return those that are intact.

    A model without pins is the user's own: it is only verified, and reported when it is not intact.
    """
    from barnabee.up import model_pins, models  # noqa: PLC0415 - reads the pins

    pinned = [name for name in names if name in model_pins.load_pins().model]
    await models.ensure_models(pinned, paths.models_directory(), steps.report)
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


async def _install_home_assistant(
    directory: Path, requirements: Path, steps: ProgressSteps
) -> None:
    if settings.read_variable("BARNABEE_HOME_ASSISTANT_VENV"):
        if not (directory / "bin" / "python").exists():
            raise SettingInvalid(
                name="BARNABEE_HOME_ASSISTANT_VENV",
                reason=f"{directory} has no bin/python",
                hint="name a virtual environment with Home Assistant, or unset it",
            )
        return
    if packages.is_venv_complete(directory):
        return

    def report(done_bytes: int) -> None:
        steps.report(_HOME_ASSISTANT, done_bytes, 0)

    await packages.ensure_venv(directory, requirements, report)
    size = await asyncio.to_thread(packages.measure_size_bytes, directory)
    steps.report(_HOME_ASSISTANT, size, size)

"""What a machine needs before the house can start: a Redis, the models, Home Assistant, the page.

Steps that do not depend on one another run at the same time; each is done once and then only
looked at. What this machine cannot have is listed with its reason, never passed over.
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
    SetUpFailed,
)
from barnabee.core.schema import System
from barnabee.up import apt, dashboard, environment, monitoring_services, paths
from barnabee.up.progress import Steps, shown

_HOME_ASSISTANT = "Home Assistant"


def model_names(system: System, device: str = "cpu") -> list[str]:
    """Return the folders of the models that `system` names for a device ("cpu" or "cuda")."""
    cuda = device == "cuda"
    chosen = [model.cuda_files if cuda else model.cpu_files for model in system.model.values()]
    return sorted({files for files in chosen if files})


def home_assistant_requirements() -> Path:
    """Return the pinned packages of the demo home."""
    return paths.checkout() / "requirements" / "home-assistant.txt"


def prepare(
    system: System, console: Console, *, demo_home: bool, monitoring: bool = False
) -> Path | None:
    """See to everything; return Home Assistant's environment when `demo_home` asks for one.

    Raises SetUpFailed, DependencyDown or ModelDamaged in one sentence.
    """
    with shown(console) as steps:
        return asyncio.run(_prepare(system, steps, demo_home=demo_home, monitoring=monitoring))


async def _prepare(
    system: System, steps: Steps, *, demo_home: bool, monitoring: bool
) -> Path | None:
    home = paths.home_assistant(home_assistant_requirements()) if demo_home else None
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_packages(steps, monitoring=monitoring))
            names = model_names(system, settings.load(system).device)
            group.create_task(fetch_models(names, steps))
            group.create_task(dashboard.ensure(steps.tell))
            if home is not None:
                group.create_task(_home_assistant(home, steps))
    except* BarnabeeError as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    return home


async def fetch_models(names: list[str], steps: Steps) -> list[str]:
    """Fetch and check the models, with progress in bytes; return those that are whole.

    A folder that nothing is pinned for is one's own: it is only looked at, and named when it is not
    whole.
    """
    from barnabee.up import model_pins, models  # noqa: PLC0415 - reads the pins

    pinned = [name for name in names if name in model_pins.load().model]
    await models.ensure_models(pinned, paths.models(), steps.report)
    for name in names:
        if name in pinned:
            continue
        try:
            await asyncio.to_thread(manifest.verify, paths.models() / name)
        except (ModelMissing, ModelDamaged) as error:
            steps.tell(f"{name} is not pinned, so it cannot be fetched: {_own_model(name, error)}")
        else:
            pinned.append(name)
    return sorted(pinned)


def _own_model(name: str, error: BarnabeeError) -> str:
    folder = paths.models() / name
    if isinstance(error, ModelMissing):
        return f"put its files into {folder}, then run `barnabee models seal {name}`"
    return f"{error.fields['path']}: {error.fields['reason']}"


async def _packages(steps: Steps, *, monitoring: bool) -> None:
    """One after the other: there is one lock on Debian's packages."""
    await _redis(steps)
    for name in monitoring_services.PROGRAMS.values() if monitoring else ():
        if shutil.which(name):
            continue
        if not apt.possible():
            hint = f"install the Debian package {name}, or leave off --monitoring"
            raise SetUpFailed(what=name, reason="only root may install Debian packages", hint=hint)
        await apt.install(name, steps.tell)


async def _redis(steps: Steps) -> None:
    if shutil.which("redis-server") or shutil.which("valkey-server"):
        return
    if apt.possible():
        await apt.install("redis-server", steps.tell)
        return
    why = "apt-get is missing" if os.geteuid() == 0 else "only root may install Debian packages"
    steps.tell(f"redis-server: not installed ({why}); the packaged Valkey runs instead")


async def _home_assistant(directory: Path, steps: Steps) -> None:
    if os.environ.get("BARNABEE_HOME_ASSISTANT_VENV"):
        if not (directory / "bin" / "python").exists():
            raise SettingInvalid(
                name="BARNABEE_HOME_ASSISTANT_VENV",
                reason=f"{directory} has no bin/python",
                hint="name a virtual environment with Home Assistant, or unset it",
            )
        return
    if environment.complete(directory):
        return

    def report(so_far_bytes: int) -> None:
        steps.report(_HOME_ASSISTANT, so_far_bytes, 0)

    await environment.ensure(directory, home_assistant_requirements(), report)
    size = await asyncio.to_thread(environment.size_bytes, directory)
    steps.report(_HOME_ASSISTANT, size, size)

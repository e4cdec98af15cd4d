"""What a machine needs before the house can start: a Redis, the models, Home Assistant.

Steps that do not depend on one another run at the same time; each is done once and then only
looked at. What this machine cannot have is listed with its reason, never passed over.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from pathlib import Path

from rich.console import Console

from barnabee.core.errors import BarnabeeError, SettingInvalid
from barnabee.core.tables import System
from barnabee.up import apt, environment, paths
from barnabee.up.progress import Steps, shown

_HOME_ASSISTANT = "Home Assistant"


def model_names(system: System) -> list[str]:
    """Return the folders of the CPU models that `system` names."""
    return sorted({model.cpu_files for model in system.model.values() if model.cpu_files})


def home_assistant_requirements() -> Path:
    """Return the pinned packages of the demo home."""
    return paths.checkout() / "requirements" / "home-assistant.txt"


def prepare(system: System, console: Console, *, demo_home: bool) -> Path | None:
    """See to everything; return Home Assistant's environment when `demo_home` asks for one.

    Raises SetUpFailed, DependencyDown or ModelDamaged in one sentence.
    """
    with shown(console) as steps:
        return asyncio.run(_prepare(system, steps, demo_home=demo_home))


async def _prepare(system: System, steps: Steps, *, demo_home: bool) -> Path | None:
    home = paths.home_assistant(home_assistant_requirements()) if demo_home else None
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(_redis(steps))
            group.create_task(fetch_models(model_names(system), steps))
            if home is not None:
                group.create_task(_home_assistant(home, steps))
    except* BarnabeeError as errors:
        first: BaseException = errors
        while isinstance(first, BaseExceptionGroup):
            first = first.exceptions[0]
        raise first from None
    return home


async def fetch_models(names: list[str], steps: Steps) -> None:
    """Fetch and check the models, with progress in bytes."""
    from barnabee.up.models import ensure_models  # noqa: PLC0415 - reads the pins

    await ensure_models(names, paths.models(), steps.report)


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

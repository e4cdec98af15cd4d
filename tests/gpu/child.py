"""Process of one section: `python -m gpu.child NAME SETTINGS`, the settings as JSON."""

from __future__ import annotations

import asyncio
import inspect
import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from gpu import doctor
from gpu.report import MACHINE, Recorder
from gpu.sections import SECTIONS


def main() -> int:
    name, settings = sys.argv[1], json.loads(sys.argv[2])
    directory = Path(settings["output"])
    if name == MACHINE:
        doctor.run(directory, settings["device"])
        return 0
    recorder = Recorder(directory, name)
    with recorder.part("section"):
        _run(name, settings, recorder)
    return 1 if recorder.failures else 0


def _run(name: str, settings: dict[str, Any], recorder: Recorder) -> None:
    from barnabee.gpu.engines.base import Device  # noqa: PLC0415 - may be missing
    from gpu.context import Bench, count_cores  # noqa: PLC0415

    bench = Bench(
        device=Device(settings["device"], count_cores()),
        models=Path(settings["models"]),
        recorder=recorder,
        repeats=settings["repeats"],
        rooms=tuple(settings["rooms"]),
        seconds=settings["seconds"],
        quick=settings["quick"],
        builder=settings["builder"],
    )
    section = next(one for one in SECTIONS if one.name == name)
    module, _, function = section.function.partition(":")
    result = getattr(import_module(f"gpu.{module}"), function)(bench)
    if inspect.isawaitable(result):
        asyncio.run(_await(result))


async def _await(result: Any) -> None:
    await result


if __name__ == "__main__":
    sys.exit(main())

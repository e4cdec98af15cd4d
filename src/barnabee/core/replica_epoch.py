"""The line of the database: which of its replicas is written from here.

Each change of the machine that may write begins a new line, in a place of its own in the bucket,
so that a machine that has not noticed yet can spoil nothing (docs/reference/standby.md). Line 1 is
the place that system.toml names; a house without a stand-by has no other.
"""

from __future__ import annotations

import os
from pathlib import Path

from barnabee.core.schema import System

ENVIRONMENT = "BARNABEE_LINE"
FILE = "line"


def at(system: System, line: int) -> System:
    """Return `system` (of line 1) with the replica of that line. Pure."""
    if line <= 1:
        return system
    place = system.replica.model_copy(update={"path": f"{system.replica.path}-{line}"})
    return system.model_copy(update={"replica": place})


def read(data: Path) -> int:
    """Return the line that the database in the directory `data` belongs to."""
    return _number(data / FILE)


def write(data: Path, line: int) -> None:
    """Note the line of the database in the directory `data`."""
    draft = data / f".{FILE}"
    draft.write_text(f"{line}\n", encoding="ascii")
    draft.replace(data / FILE)


def own(system: System) -> System:
    """Return `system` with the line noted in the file that $BARNABEE_LINE names, if any."""
    named = os.environ.get(ENVIRONMENT)
    return at(system, _number(Path(named))) if named else system


def _number(file: Path) -> int:
    try:
        return int(file.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 1

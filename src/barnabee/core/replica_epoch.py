"""Epoch of the database: the number of the replica that this machine writes.

Each failover begins a new epoch with its own path in the bucket, so that a former primary that has
not noticed the failover cannot damage the current replica (docs/reference/standby.md). Epoch 1 is
the path in system.toml; a deployment without a standby has no other.
"""

from __future__ import annotations

from pathlib import Path

from barnabee.core.files import write_atomically
from barnabee.core.schema import System
from barnabee.core.settings import read_variable

EPOCH_VARIABLE = "BARNABEE_LINE"
EPOCH_FILE = "line"


def with_epoch(system: System, epoch: int) -> System:
    """Return `system` (of epoch 1) with the replica path of `epoch`. Pure."""
    if epoch <= 1:
        return system
    replica = system.replica.model_copy(update={"path": f"{system.replica.path}-{epoch}"})
    return system.model_copy(update={"replica": replica})


def read_epoch(directory: Path) -> int:
    """Return the epoch of the database in the data directory; 1 without a readable file."""
    return _read_number(directory / EPOCH_FILE)


def write_epoch(directory: Path, epoch: int) -> None:
    """Store the epoch of the database in the data directory."""
    write_atomically(directory / EPOCH_FILE, f"{epoch}\n")


def with_current_epoch(system: System) -> System:
    """Return `system` with the epoch in the file that `$BARNABEE_LINE` names, if it is set.

    For programs that read or write the replica: others may not be allowed to read the file.
    """
    path = read_variable(EPOCH_VARIABLE)
    return with_epoch(system, _read_number(Path(path))) if path else system


def _read_number(path: Path) -> int:
    try:
        return int(path.read_text(encoding="ascii"))
    except (FileNotFoundError, ValueError):
        return 1

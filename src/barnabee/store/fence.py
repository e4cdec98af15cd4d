"""Write fence: whether this machine may write to the database now, and the database's epoch.

The lease keeper grants the permit. Without a standby machine there is no permit and every write is
allowed. With one, a missing, unreadable or expired permit means no. Expiry is measured by a clock
that includes suspend, so that a machine wakes from sleep without a valid permit.

Each failover begins a new epoch with its own path in the bucket, so that a former primary that has
not noticed the failover cannot damage the current replica (docs/reference/standby.md). Epoch 1 is
the path in system.toml; a deployment without a standby has no other.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from barnabee.core.errors import LeaseNotHeld
from barnabee.core.files import write_atomically
from barnabee.core.schema import System
from barnabee.core.settings import read_variable

PERMIT_FILE = "permit.json"

Fence = Callable[[], None]  # raises LeaseNotHeld
EPOCH_VARIABLE = "BARNABEE_LINE"
EPOCH_FILE = "line"


@dataclass(frozen=True)
class WritePermit:
    """The right to write until `until_ns` of `boot_time_ns`."""

    host: str
    epoch: int  # counted up at each change of the lease holder
    until_ns: int


def boot_time_ns() -> int:
    """Return the time since boot, suspend included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def grant_permit(directory: Path, permit: WritePermit) -> None:
    """Replace the permit in `directory`."""
    write_atomically(directory / PERMIT_FILE, json.dumps(asdict(permit)))


def read_permit(directory: Path) -> WritePermit | None:
    """Return the permit, also an expired one; None when there is none."""
    try:
        text = (directory / PERMIT_FILE).read_text(encoding="utf-8")
        return WritePermit(**json.loads(text))
    except (OSError, ValueError, TypeError):
        return None


def revoke_permit(directory: Path) -> None:
    """Delete the permit, so that this machine may not write."""
    (directory / PERMIT_FILE).unlink(missing_ok=True)


def require_permit(directory: Path, clock_ns: Callable[[], int] = boot_time_ns) -> None:
    """Raise LeaseNotHeld unless this machine holds a permit that has not expired."""
    permit = read_permit(directory)
    if permit is None:
        raise LeaseNotHeld(reason="it does not hold the lease", retry_after_s=1)
    if clock_ns() >= permit.until_ns:
        raise LeaseNotHeld(reason="its lease has run out", retry_after_s=1)


def make_fence(lease_dir: str) -> Fence:
    """Return the check that a database makes before each write; no check without `lease_dir`."""
    if not lease_dir:
        return no_fence
    directory = Path(lease_dir)
    return lambda: require_permit(directory)


def no_fence() -> None:
    """Allow every write: there is no standby machine."""


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

"""Write fence: whether this machine may write to the database now, according to `permit.json`.

The lease keeper grants the permit. Without a standby machine there is no permit and every write is
allowed. With one, a missing, unreadable or expired permit means no. Expiry is measured by a clock
that includes suspend, so that a machine wakes from sleep without a valid permit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from barnabee.core.errors import LeaseNotHeld
from barnabee.core.files import write_atomically

PERMIT_FILE = "permit.json"

Fence = Callable[[], None]  # raises LeaseNotHeld


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

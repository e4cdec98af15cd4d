"""May this machine write to the database now? The keeper of the lease says so in a small file.

Where there is no stand-by there is no file and everybody may write. Where there is one, no file, a
file that cannot be read, and a permit that has run out all mean no. Times are of the clock that
goes on while the machine sleeps, so that a machine that slept wakes without a permit.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from barnabee.core.errors import NotTheHolder

FILE = "permit.json"

Fence = Callable[[], None]


@dataclass(frozen=True)
class Permit:
    """The right to write, until a moment of this machine's clock."""

    host: str
    epoch: int  # the line of the database, counted up at each change of the holder
    until_ns: int


def now_ns() -> int:
    """Return the time since boot, sleep included."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def write(directory: Path, permit: Permit) -> None:
    """Say that this machine may write."""
    text = directory / f".{FILE}"
    text.write_text(json.dumps(asdict(permit)), encoding="utf-8")
    text.replace(directory / FILE)


def read(directory: Path) -> Permit | None:
    """Return the permit, also one that has run out; None when there is none."""
    try:
        return Permit(**json.loads((directory / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def withdraw(directory: Path) -> None:
    """Say that this machine may not write."""
    (directory / FILE).unlink(missing_ok=True)


def require(directory: Path, clock_ns: Callable[[], int] = now_ns) -> None:
    """Return when this machine may write; NotTheHolder otherwise."""
    permit = read(directory)
    if permit is None:
        raise NotTheHolder(reason="it does not hold the lease", retry_after_s=1)
    if clock_ns() >= permit.until_ns:
        raise NotTheHolder(reason="its lease has run out", retry_after_s=1)


def fence(lease_dir: str) -> Fence:
    """Return what a database asks before it writes; `lease_dir` empty: always allowed."""
    if not lease_dir:
        return nobody
    directory = Path(lease_dir)
    return lambda: require(directory)


def nobody() -> None:
    """Ask nobody: there is no stand-by."""

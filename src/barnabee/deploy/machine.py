"""What can be asked of a machine and done to it while it is switched.

`nixos.NixosMachine` does it for real; the tests have machines of real scripts and of plain memory.
An act that fails raises StepFailed (or OSError); every act may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from barnabee.deploy.facts import Data, Facts, Limits
from barnabee.deploy.journal import PinRef


@dataclass(frozen=True)
class Live:
    """What is true now, whatever any system says of itself."""

    boot_id: str
    kernel: str
    driver: str | None  # version of the loaded kernel module
    container: bool = False
    counted: bool = False  # the boot loader counts this boot as a trial


class Machine(Protocol):
    """One machine."""

    def live(self) -> Live:
        """Return kernel, driver and boot."""

    def now_s(self) -> float:
        """Return the seconds since boot, sleep included."""

    def clock(self) -> str:
        """Return the date and time, RFC 3339."""

    def pause(self, seconds: float) -> None:
        """Let time pass between two looks."""

    def running(self) -> Path:
        """Return the system that is active."""

    def profile(self) -> Path:
        """Return the system that is booted next, as far as the profile says."""

    def facts(self, system: Path) -> Facts | None:
        """Return what a system says of itself."""

    def is_system(self, path: Path) -> bool:
        """Return whether there is a system that can be activated."""

    def schema(self, data: Data | None) -> int | None:
        """Return the schema of the database now, None without one."""

    def pins(self, data: Data | None) -> list[PinRef]:
        """Return the moments that can be brought back, oldest first."""

    def failed_units(self) -> frozenset[str]:
        """Return the units that have failed."""

    def hold(self, systems: Iterable[Path]) -> None:
        """Keep exactly these systems from being collected as garbage."""

    def pin(self, data: Data, reason: str, limit_s: float) -> PinRef | None:
        """Pin the database; None when the running system has not learnt how, or there is none."""

    def restore(self, data: Data, pin: PinRef, limit_s: float) -> None:
        """Stop what writes and put the database back to `pin`; what was there is kept aside."""

    def start_house(self, data: Data) -> None:
        """Start what `restore` stopped."""

    def activate(self, system: Path, limit_s: float) -> str:
        """Make `system` the running one, not the booted one; return what is worth a note."""

    def check(self, unit: str, limit_s: float) -> str | None:
        """Run a check; return why the machine is not well, None when it is."""

    def boot_by_default(self, system: Path) -> None:
        """Make `system` the profile, and tell the boot loader."""

    def boot_once(self, system: Path, otherwise: Path) -> str:
        """Try `system` at the next boot and `otherwise` after that, as far as the loader can.

        Returns what is worth a note.
        """

    def reboot(self) -> None:
        """Restart; returns at once."""

    def owner(self) -> str:
        """Return a name for whatever is running this."""

    def owner_alive(self, name: str) -> bool:
        """Return whether that, or anything it started, still runs."""

    def end_owner(self, name: str) -> None:
        """Kill it with all it started, and wait until it is gone."""

    def arm(self, limits: Limits, program: str) -> None:
        """Have `watch` run again and again until `disarm`, whatever becomes of this process."""

    def disarm(self) -> None:
        """Let that end."""

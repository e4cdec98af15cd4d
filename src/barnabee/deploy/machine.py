"""Machine under deployment: the operations that a switch needs, and the facts a system states.

`nixos.NixosMachine` is the real implementation; tests have one of scripts and one in memory.
Operations raise StepFailed or OSError and may be repeated.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from barnabee.deploy.command import DeployRefused

FACTS_FILE = Path("etc/barnabee/deploy.json")


class _Table(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class DeployLimits(_Table):
    """Time limits of a switch: the table `deploy` of system.toml."""

    switch_s: int
    settle_s: int
    confirm_s: int
    data_s: int
    watch_every_s: int
    records_kept: int


class DatabaseFacts(_Table):
    """The database that a system's services write, and the units that pin and restore it."""

    database: str
    pin_unit: str
    restore_unit: str  # a template; the instance is the pin's id
    services_unit: str = Field(alias="house")
    start: tuple[str, ...] = ()  # with a standby, the units that start it while it may serve
    machine: str | None = None  # the container with these units; None: the machine itself


class PinRef(_Table):
    """Restore point of the database (`barnabee backup pin`)."""

    id: str
    txid: int
    data_schema: int
    at: str = ""


class SystemFacts(_Table):
    """Facts that a system states in etc/barnabee/deploy.json, so that it need not be running."""

    kernel: str | None  # None: a container, which uses its host's kernel
    driver: str | None  # version of the GPU libraries; None without a GPU
    data_schema: int | None = Field(alias="schema")  # newest that its programs support
    checks: tuple[str, ...]  # units that fail while the system is unhealthy
    data: DatabaseFacts | None
    limits: DeployLimits
    program: str  # path of its own `barnabee`


def read_facts(system: Path) -> SystemFacts | None:
    """Return the facts of `system`; None when it has none, DeployRefused when they are invalid."""
    try:
        text = (system / FACTS_FILE).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return SystemFacts.model_validate_json(text)
    except ValidationError as error:
        field = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DeployRefused(reason=f"{system / FACTS_FILE} is invalid at {field}") from error


@dataclass(frozen=True)
class HostState:
    """Measured state of the machine, as opposed to the facts of a system."""

    boot_id: str
    kernel: str
    driver: str | None  # version of the loaded kernel module
    container: bool = False
    counted: bool = False  # the boot loader counts this boot as a trial
    is_first_system: bool = False  # there is no other generation


class Machine(Protocol):
    """One machine."""

    def read_state(self) -> HostState: ...

    def now_s(self) -> float:
        """Return the seconds since boot, including time asleep."""

    def timestamp(self) -> str:
        """Return the date and time, RFC 3339."""

    def sleep(self, seconds: float) -> None: ...

    def running_system(self) -> Path: ...

    def profile_system(self) -> Path:
        """Return the system that the profile names."""

    def read_facts(self, system: Path) -> SystemFacts | None: ...

    def is_system(self, path: Path) -> bool:
        """Return whether `path` is a system that can be activated."""

    def read_schema(self, data: DatabaseFacts | None) -> int | None:
        """Return the schema of the database; None without one."""

    def list_pins(self, data: DatabaseFacts | None) -> list[PinRef]:
        """Return the restore points, oldest first."""

    def list_failed_units(self) -> frozenset[str]: ...

    def protect_from_gc(self, systems: Iterable[Path]) -> None:
        """Protect exactly these systems from garbage collection."""

    def pin_database(self, data: DatabaseFacts, reason: str, limit_s: float) -> PinRef | None:
        """Create a restore point; None without a database or a unit that does it."""

    def restore_database(self, data: DatabaseFacts, pin: PinRef, limit_s: float) -> None:
        """Restore `pin` once every writer has ended; a copy of the replaced database is kept."""

    def start_services(self, data: DatabaseFacts) -> None:
        """Start the units that `restore_database` stopped."""

    def activate(self, system: Path, limit_s: float) -> str:
        """Activate `system` without making it the boot default; return a note or ""."""

    def run_check(self, unit: str, limit_s: float) -> str | None:
        """Run a check unit; return the reason why it failed, or None."""

    def set_boot_default(self, system: Path) -> None:
        """Make `system` the profile and the boot loader's default."""

    def set_boot_once(self, system: Path, otherwise: Path) -> str:
        """Boot `system` next and `otherwise` after that, if the boot loader can.

        Returns a note about what it cannot do, or "".
        """

    def reboot(self) -> None:
        """Request a restart; returns at once."""

    def current_executor(self) -> str:
        """Return a unique name for the unit or process that runs this code."""

    def is_executor_alive(self, name: str) -> bool:
        """Return whether that executor or any of its children still runs."""

    def kill_executor(self, name: str) -> None:
        """Kill it with all its children, and wait for their end."""

    def arm_watchdog(self, limits: DeployLimits, program: str) -> None:
        """Run `barnabee deploys watch` periodically until disarmed, independent of this process."""

    def disarm_watchdog(self) -> None: ...

"""In-memory machine for deployments, with kills, power cuts and failures at every operation."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from barnabee.deploy.command import StepFailed
from barnabee.deploy.journal import SwitchJournal, SwitchRecord, SwitchState
from barnabee.deploy.machine import DatabaseFacts, DeployLimits, HostState, PinRef, SystemFacts

LIMITS = DeployLimits(
    switch_s=300, settle_s=60, confirm_s=30, data_s=60, watch_every_s=10, records_kept=20
)
DATA = DatabaseFacts(
    database="/data/barnabee.db", pin_unit="pin", restore_unit="restore@", house="barnabee.target"
)
T = TypeVar("T")


def make_record(state: SwitchState, **changed: object) -> SwitchRecord:
    """Return the record of a switch from OLD to NEW."""
    fields = {
        "id": "1",
        "kind": "switch",
        "state": state,
        "target": "/nix/store/new",
        "previous": "/nix/store/old",
        "previous_profile": "/nix/store/old",
        "refuge": "/nix/store/old",
        "boot_id": "boot",
        "deadline_s": 100.0,
        "started_at": "2026-01-31T12:00:00Z",
        "limits": LIMITS,
    }
    return SwitchRecord.model_validate(fields | changed)


class ProcessKilled(BaseException):
    """The process was killed; the machine stays as it is."""


class PowerCut(BaseException):
    """The machine lost its power."""


@dataclass
class FakeSystem:
    """A system and its properties."""

    healthy: bool = True
    migrates: bool = True
    schema: int = 1
    driver: str | None = None
    known: bool = True  # it has a deploy.json
    boots: bool = True
    checks: tuple[str, ...] = ("health",)


@dataclass
class MachineState:
    """State of the machine, which outlives its processes."""

    systems: dict[Path, FakeSystem]
    running: Path
    default: Path  # boot default
    profile_link: Path
    services: Path | None  # the system whose services run
    schema_now: int | None = 1
    rows: int = 100
    faults: dict[int, str] = field(default_factory=dict)  # by number of the operation
    once: Path | None = None
    can_boot_once: bool = True
    faulty_activation: bool = False  # each activates the system and reports a failure
    boots: int = 1
    loaded: str | None = None
    now: float = 1000.0
    acts: int = 0
    armed: bool = False
    rebooting: bool = False
    lives: int = 0  # processes started so far
    alive: str = ""  # the running executor
    pinned: list[PinRef] = field(default_factory=list)
    rows_of: dict[str, int] = field(default_factory=dict)  # by pin
    held: set[Path] = field(default_factory=set)
    log: list[str] = field(default_factory=list)

    def perform(self, what: str, act: Callable[[], T], *, half: Callable[[], object] = list) -> T:
        """Run one operation, or the fault that is set for its number."""
        self.acts += 1
        self.log.append(what)
        fault = self.faults.get(self.acts, "")
        if fault.endswith("before"):
            self._strike(fault)
        if fault.endswith("half"):
            half()
            self._strike(fault)
        done = act()
        if fault.endswith("after"):
            self._strike(fault)
        return done

    def _strike(self, fault: str) -> None:
        kind = fault.partition(" ")[0]
        if kind == "kill":
            raise ProcessKilled
        if kind == "power":
            raise PowerCut
        raise StepFailed(what="an act", reason="injected fault")

    def boot(self) -> None:
        """Boot the one-time entry, or else the default."""
        chosen, self.once = self.once or self.default, None
        if not self.systems[chosen].boots:
            chosen = self.default  # a power cycle, or the boot counter
            assert self.systems[chosen].boots
        self.boots += 1
        self.rebooting = self.armed = False
        self.alive = ""
        self.loaded = self.systems[chosen].driver
        self.running = chosen
        self.start_services()

    def start_services(self) -> None:
        """Start the services of the running system, which migrate the database to their schema."""
        self.services = self.running
        if self.schema_now is None:
            self.schema_now = max([1, *(pin.data_schema for pin in self.pinned)])
            self.rows = max(self.rows_of.values(), default=0)
        wanted = self.systems[self.running].schema
        if self.systems[self.running].migrates and wanted > self.schema_now:
            self.pin()  # as migrations do
            self.schema_now = wanted

    def pin(self) -> PinRef | None:
        """Create a restore point."""
        if self.schema_now is None:
            return None
        number = len(self.pinned) + 1
        found = PinRef(id=f"pin-{number}", txid=number, data_schema=self.schema_now)
        self.pinned.append(found)
        self.rows_of[found.id] = self.rows
        return found

    def is_healthy(self) -> bool:
        """Return whether the running system works."""
        now = self.systems[self.running]
        reads = self.schema_now is not None and self.schema_now <= now.schema
        drives = now.driver in {None, self.loaded}
        return now.healthy and reads and drives and self.services == self.running


class MemoryMachine:
    """One process on the machine."""

    def __init__(self, state: MachineState) -> None:
        state.lives += 1
        self.state = state
        self._me = f"process-{state.lives}"
        state.alive = self._me

    def read_state(self) -> HostState:
        state = self.state
        return HostState(f"boot-{state.boots}", "6.18", state.loaded, counted=False)

    def now_s(self) -> float:
        self.state.now += 0.01
        return self.state.now

    def timestamp(self) -> str:
        return "2026-01-31T12:00:00Z"

    def sleep(self, seconds: float) -> None:
        self.state.now += seconds

    def running_system(self) -> Path:
        return self.state.running

    def profile_system(self) -> Path:
        return self.state.profile_link

    def read_facts(self, system: Path) -> SystemFacts | None:
        found = self.state.systems.get(system)
        if found is None or not found.known:
            return None
        return SystemFacts(
            kernel="6.18",
            driver=found.driver,
            schema=found.schema,
            checks=found.checks,
            data=DATA,
            limits=LIMITS,
            program="barnabee",
        )

    def is_system(self, path: Path) -> bool:
        return path in self.state.systems

    def read_schema(self, data: DatabaseFacts | None) -> int | None:
        return self.state.schema_now if data else None

    def list_pins(self, data: DatabaseFacts | None) -> list[PinRef]:
        return list(self.state.pinned)

    def list_failed_units(self) -> frozenset[str]:
        return frozenset() if self.state.is_healthy() else frozenset({"barnabee-api.service"})

    def protect_from_gc(self, systems: Iterable[Path]) -> None:
        self.state.perform("hold", lambda: self.state.held.update(systems))

    def pin_database(self, data: DatabaseFacts, reason: str, limit_s: float) -> PinRef | None:
        return self.state.perform("pin", self.state.pin)

    def restore_database(self, data: DatabaseFacts, pin: PinRef, limit_s: float) -> None:
        def stop() -> None:
            self.state.services = None
            self.state.schema_now = None

        def act() -> None:
            stop()
            self.state.schema_now = pin.data_schema
            self.state.rows = self.state.rows_of[pin.id]

        self.state.perform("restore", act, half=stop)

    def start_services(self, data: DatabaseFacts) -> None:
        self.state.perform("start", self.state.start_services)

    def activate(self, system: Path, limit_s: float) -> str:
        def stop() -> None:
            self.state.services = None

        def act() -> None:
            stop()
            self.state.running = system
            self.state.start_services()

        self.state.perform(f"activate {system.name}", act, half=stop)
        if self.state.faulty_activation:
            raise StepFailed(what="activating", reason="a part of it failed")
        return ""

    def run_check(self, unit: str, limit_s: float) -> str | None:
        def act() -> str | None:
            if not self.state.is_healthy():
                self.state.now += limit_s
                return "the api does not answer"
            return None

        return self.state.perform("check", act)

    def set_boot_default(self, system: Path) -> None:
        def profile() -> None:
            self.state.profile_link = system

        def act() -> None:
            profile()
            self.state.default = system
            self.state.once = None

        self.state.perform(f"keep {system.name}", act, half=profile)

    def set_boot_once(self, system: Path, otherwise: Path) -> str:
        def half() -> None:
            self.state.profile_link = system

        def act() -> str:
            if self.state.can_boot_once:
                self.state.once, self.state.profile_link = system, otherwise
                return ""
            half()
            self.state.default = system
            return "it is the default from now on"

        return self.state.perform("boot once", act, half=half)

    def reboot(self) -> None:
        self.state.rebooting = True

    def current_executor(self) -> str:
        return self._me

    def is_executor_alive(self, owner: str) -> bool:
        return owner == self.state.alive and owner != self._me

    def kill_executor(self, owner: str) -> None:
        self.state.alive = self._me

    def arm_watchdog(self, limits: DeployLimits, program: str) -> None:
        self.state.perform("arm", lambda: setattr(self.state, "armed", True))

    def disarm_watchdog(self) -> None:
        self.state.armed = False


class MemoryJournal(SwitchJournal):
    """Journal in memory; a fault may strike before and after each write."""

    def __init__(self, state: MachineState) -> None:
        super().__init__(Path("/nonexistent"))
        self.state = state
        self.texts: dict[str, str] = {}
        self.confirmed_ids: set[str] = set()

    def write(self, record: SwitchRecord) -> SwitchRecord:
        def act() -> SwitchRecord:
            self.texts[record.id] = record.model_dump_json()
            return record

        try:
            return self.state.perform(f"write {record.state}", act)
        except StepFailed as error:
            raise OSError(errno.ENOSPC, "the disk is full") from error

    def list_records(self) -> list[SwitchRecord]:
        return [SwitchRecord.model_validate_json(self.texts[name]) for name in sorted(self.texts)]

    def confirm(self, record_id: str) -> None:
        self.confirmed_ids.add(record_id)

    def is_confirmed(self, record_id: str) -> bool:
        return record_id in self.confirmed_ids

    def prune(self, kept: int) -> None:
        pass

    @contextmanager
    def lock(self) -> Iterator[None]:
        yield

"""A machine of plain memory that can be killed, cut from its power and failed at every act."""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from barnabee.deploy.errors import StepFailed
from barnabee.deploy.facts import Data, Facts, Limits
from barnabee.deploy.journal import Journal, PinRef, Record, State
from barnabee.deploy.machine import Live

LIMITS = Limits(
    switch_s=300, settle_s=60, confirm_s=30, data_s=60, watch_every_s=10, records_kept=20
)
DATA = Data(database="/data/barnabee.db", pin_unit="pin", restore_unit="restore@", house="house")
T = TypeVar("T")


def record(state: State, **changed: object) -> Record:
    """Return the record of a switch from OLD to NEW."""
    told = {
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
    return Record.model_validate(told | changed)


class Killed(BaseException):
    """The process is gone, the machine is as it was left."""


class PowerCut(BaseException):
    """So is the machine."""


@dataclass
class System:
    """What a system is good for."""

    well: bool = True
    migrates: bool = True
    schema: int = 1
    driver: str | None = None
    known: bool = True  # it says something of itself
    boots: bool = True
    checks: tuple[str, ...] = ("health",)


@dataclass
class World:
    """The machine, as it is outside of any process."""

    systems: dict[Path, System]
    running: Path
    default: Path  # what the boot loader takes
    profile_link: Path
    services: Path | None  # whose services run
    schema_now: int | None = 1
    rows: int = 100
    faults: dict[int, str] = field(default_factory=dict)  # what happens at which act
    once: Path | None = None
    can_boot_once: bool = True
    boots: int = 1
    loaded: str | None = None
    now: float = 1000.0
    acts: int = 0
    armed: bool = False
    rebooting: bool = False
    lives: int = 0  # processes so far
    alive: str = ""  # the owner that runs
    pinned: list[PinRef] = field(default_factory=list)
    rows_of: dict[str, int] = field(default_factory=dict)  # by pin
    held: set[Path] = field(default_factory=set)
    told: list[str] = field(default_factory=list)

    def fate(self, what: str, act: Callable[[], T], *, half: Callable[[], object] = list) -> T:
        """Do one act, unless the fault of its number strikes."""
        self.acts += 1
        self.told.append(what)
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
            raise Killed
        if kind == "power":
            raise PowerCut
        raise StepFailed(what="an act", reason="it was made to fail")

    def boot(self) -> None:
        """Start again: once what was asked for once, or else the default."""
        chosen, self.once = self.once or self.default, None
        if not self.systems[chosen].boots:
            chosen = self.default  # somebody cuts the power, or the loader's counter does
            assert self.systems[chosen].boots
        self.boots += 1
        self.rebooting = self.armed = False
        self.alive = ""
        self.loaded = self.systems[chosen].driver
        self.running = chosen
        self.start_services()

    def start_services(self) -> None:
        """Start the services of what runs; they migrate the database as far as they know."""
        self.services = self.running
        if self.schema_now is None:
            self.schema_now = max([1, *(pin.data_schema for pin in self.pinned)])
            self.rows = max(self.rows_of.values(), default=0)
        wanted = self.systems[self.running].schema
        if self.systems[self.running].migrates and wanted > self.schema_now:
            self.pin()  # as migrations do
            self.schema_now = wanted

    def pin(self) -> PinRef | None:
        """Remember the database."""
        if self.schema_now is None:
            return None
        number = len(self.pinned) + 1
        found = PinRef(id=f"pin-{number}", txid=number, data_schema=self.schema_now)
        self.pinned.append(found)
        self.rows_of[found.id] = self.rows
        return found

    def well(self) -> bool:
        """Return whether what runs does its work."""
        now = self.systems[self.running]
        reads = self.schema_now is not None and self.schema_now <= now.schema
        drives = now.driver in {None, self.loaded}
        return now.well and reads and drives and self.services == self.running


class MemoryMachine:
    """One process's view of the world."""

    def __init__(self, world: World) -> None:
        world.lives += 1
        self.world = world
        self._me = f"process-{world.lives}"
        world.alive = self._me

    def live(self) -> Live:
        world = self.world
        return Live(f"boot-{world.boots}", "6.18", world.loaded, counted=False)

    def now_s(self) -> float:
        self.world.now += 0.01
        return self.world.now

    def clock(self) -> str:
        return "2026-01-31T12:00:00Z"

    def pause(self, seconds: float) -> None:
        self.world.now += seconds

    def running(self) -> Path:
        return self.world.running

    def profile(self) -> Path:
        return self.world.profile_link

    def facts(self, system: Path) -> Facts | None:
        found = self.world.systems.get(system)
        if found is None or not found.known:
            return None
        return Facts(
            kernel="6.18",
            driver=found.driver,
            schema=found.schema,
            checks=found.checks,
            data=DATA,
            limits=LIMITS,
            program="barnabee",
        )

    def is_system(self, path: Path) -> bool:
        return path in self.world.systems

    def schema(self, data: Data | None) -> int | None:
        return self.world.schema_now if data else None

    def pins(self, data: Data | None) -> list[PinRef]:
        return list(self.world.pinned)

    def failed_units(self) -> frozenset[str]:
        return frozenset() if self.world.well() else frozenset({"barnabee-api.service"})

    def hold(self, systems: Iterable[Path]) -> None:
        self.world.fate("hold", lambda: self.world.held.update(systems))

    def pin(self, data: Data, reason: str, limit_s: float) -> PinRef | None:
        return self.world.fate("pin", self.world.pin)

    def restore(self, data: Data, pin: PinRef, limit_s: float) -> None:
        def stop() -> None:
            self.world.services = None
            self.world.schema_now = None

        def act() -> None:
            stop()
            self.world.schema_now = pin.data_schema
            self.world.rows = self.world.rows_of[pin.id]

        self.world.fate("restore", act, half=stop)

    def start_house(self, data: Data) -> None:
        self.world.fate("start", self.world.start_services)

    def activate(self, system: Path, limit_s: float) -> str:
        def stop() -> None:
            self.world.services = None

        def act() -> str:
            stop()
            self.world.running = system
            self.world.start_services()
            return ""

        return self.world.fate(f"activate {system.name}", act, half=stop)

    def check(self, unit: str, limit_s: float) -> str | None:
        def act() -> str | None:
            if not self.world.well():
                self.world.now += limit_s
                return "the api does not answer"
            return None

        return self.world.fate("check", act)

    def boot_by_default(self, system: Path) -> None:
        def profile() -> None:
            self.world.profile_link = system

        def act() -> None:
            profile()
            self.world.default = system
            self.world.once = None

        self.world.fate(f"keep {system.name}", act, half=profile)

    def boot_once(self, system: Path, otherwise: Path) -> str:
        def half() -> None:
            self.world.profile_link = system

        def act() -> str:
            if self.world.can_boot_once:
                self.world.once, self.world.profile_link = system, otherwise
                return ""
            half()
            self.world.default = system
            return "it is the default from now on"

        return self.world.fate("boot once", act, half=half)

    def reboot(self) -> None:
        self.world.rebooting = True

    def owner(self) -> str:
        return self._me

    def owner_alive(self, owner: str) -> bool:
        return owner == self.world.alive and owner != self._me

    def end_owner(self, owner: str) -> None:
        self.world.alive = self._me

    def arm(self, limits: Limits, program: str) -> None:
        self.world.fate("arm", lambda: setattr(self.world, "armed", True))

    def disarm(self) -> None:
        self.world.armed = False


class MemoryJournal(Journal):
    """Records without a disk; a kill may strike before and after each is written."""

    def __init__(self, world: World) -> None:
        super().__init__(Path("/nonexistent"))
        self.world = world
        self.texts: dict[str, str] = {}
        self.yes: set[str] = set()

    def write(self, record: Record) -> Record:
        def act() -> Record:
            self.texts[record.id] = record.model_dump_json()
            return record

        try:
            return self.world.fate(f"write {record.state}", act)
        except StepFailed as error:
            raise OSError(errno.ENOSPC, "the disk is full") from error

    def every(self) -> list[Record]:
        return [Record.model_validate_json(self.texts[name]) for name in sorted(self.texts)]

    def confirm(self, record_id: str) -> None:
        self.yes.add(record_id)

    def confirmed(self, record_id: str) -> bool:
        return record_id in self.yes

    def prune(self, kept: int) -> None:
        pass

    @contextmanager
    def alone(self) -> Iterator[None]:
        yield

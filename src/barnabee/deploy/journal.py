"""Journal of switches: one JSON record each, written before the step that it announces.

A process that continues an interrupted switch knows only its record.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from barnabee.core.errors import NotFound
from barnabee.core.files import lock_file, write_atomically
from barnabee.deploy.command import DeployBusy
from barnabee.deploy.machine import DeployLimits, PinRef

DIRECTORY = Path("/var/lib/barnabee/deploys")


class SwitchState(StrEnum):
    """State of a switch."""

    PLANNED = "planned"
    ACTIVATING = "activating"
    CHECKING = "checking"
    WAITING = "waiting"  # for confirmation
    KEEPING = "keeping"  # making the target the boot default
    STAGING = "staging"  # telling the boot loader to try the target at the next boot
    BOOTING = "booting"
    RETURNING = "returning"
    KEPT = "kept"
    RETURNED = "returned"
    REFUSED = "refused"
    STUCK = "stuck"


FINAL_STATES = frozenset(
    {SwitchState.KEPT, SwitchState.RETURNED, SwitchState.REFUSED, SwitchState.STUCK}
)
EXIT_STATUS = {
    SwitchState.KEPT: 0,
    SwitchState.RETURNED: 1,
    SwitchState.REFUSED: 2,
    SwitchState.BOOTING: 3,
    SwitchState.STUCK: 4,
}


class SwitchStep(BaseModel):
    """Outcome of one step."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    what: str
    ok: bool
    why: str = ""
    took_s: float

    def describe(self) -> str:
        """Return the step as a line of text."""
        mark = "●" if self.ok else "✗"
        reason = f": {self.why}" if self.why else ""
        return f"{mark} {self.what} ({self.took_s:.1f} s){reason}"


class SwitchRecord(BaseModel):
    """Record of one switch. `deadline_s` is in seconds since the boot that `boot_id` names."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    id: str
    kind: Literal["switch", "rollback"]
    state: SwitchState
    target: str
    previous: str  # the running system before the switch
    previous_profile: str  # the boot default before the switch
    refuge: str  # the system that a rollback returns to
    boot_id: str
    owner: str = ""  # the executor
    deadline_s: float = 0
    started_at: str
    ended_at: str | None = None
    why: str = ""
    notes: tuple[str, ...] = ()
    pin: PinRef | None = None  # restore point from before the switch
    failed_before: tuple[str, ...] = ()
    activated: bool = False  # the target's activation has begun
    profile_changed: bool = False  # the boot default may have changed
    staged: bool = False  # the target is tried by a boot, not activated
    data_moved: bool = False  # the switch includes a restore of the database
    restoring: str = ""  # id of the pin that is being restored
    restored: str = ""  # id of the pin that was restored
    wants_confirmation: bool = False
    returns: int = 0  # rollback attempts
    well: bool | None = None  # whether the final system is healthy; None: not checked
    limits: DeployLimits
    steps: tuple[SwitchStep, ...] = ()

    @property
    def is_final(self) -> bool:
        return self.state in FINAL_STATES

    def summary(self) -> str:
        """Return the outcome, or the current state, as a sentence."""
        target, fallback = Path(self.target).name, Path(self.refuge).name
        reason = f": {self.why}" if self.why else ""
        health = {True: ", which is healthy", False: ", which is not healthy either", None: ""}
        rolled_back = f"rolled back to {fallback}{health[self.well]}{reason}"
        return {
            SwitchState.KEPT: f"switched to {target}{reason}",
            SwitchState.RETURNED: rolled_back
            if self.activated or self.staged
            else f"nothing was changed{reason}",
            SwitchState.REFUSED: f"refused, nothing was changed{reason}",
            SwitchState.BOOTING: f"{target} is tried at the next boot{reason}",
            SwitchState.STUCK: f"could not roll back to {fallback}, intervention needed{reason}",
        }.get(self.state, f"{self.state}{reason}")


class SwitchJournal:
    """Records of one machine's switches, in a directory that the first write creates."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        self.directory = directory

    def write(self, record: SwitchRecord) -> SwitchRecord:
        """Write `record` so that it survives a power cut; return it."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        path = self.directory / f"{record.id}.json"
        write_atomically(path, record.model_dump_json(indent=2), durable=True)
        return record

    def list_records(self) -> list[SwitchRecord]:
        """Return the readable records, oldest first (an id begins with its time)."""
        records = []
        for path in sorted(self.directory.glob("*.json")):
            with suppress(OSError, ValidationError):  # ignore records of an incompatible version
                text = path.read_text(encoding="utf-8")
                records.append(SwitchRecord.model_validate_json(text))
        return records

    def find(self, record_id: str) -> SwitchRecord:
        """Return one record; NotFound."""
        for record in self.list_records():
            if record.id == record_id:
                return record
        raise NotFound(what=f"switch {record_id!r} (`barnabee deploys` lists them)")

    def in_flight(self) -> SwitchRecord | None:
        """Return the switch that has not ended."""
        return next((one for one in reversed(self.list_records()) if not one.is_final), None)

    def last_kept(self) -> str | None:
        """Return the system that was last found healthy."""
        for record in reversed(self.list_records()):
            if record.state == SwitchState.KEPT and record.well:
                return record.target
            if record.state == SwitchState.RETURNED and record.well:
                return record.refuge
        return None

    def confirm(self, record_id: str) -> None:
        """Record that the machine can still be reached; NotFound."""
        self.find(record_id)
        (self.directory / f"{record_id}.confirmed").touch()

    def is_confirmed(self, record_id: str) -> bool:
        return (self.directory / f"{record_id}.confirmed").exists()

    def prune(self, kept: int) -> None:
        """Delete all but the newest `kept` records; unfinished ones stay."""
        for record in self.list_records()[:-kept]:
            if record.is_final:
                (self.directory / f"{record.id}.json").unlink(missing_ok=True)
                (self.directory / f"{record.id}.confirmed").unlink(missing_ok=True)

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Hold the lock on this machine's switches; DeployBusy when another process does."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        taken = DeployBusy(id="?", state="starting")
        with ExitStack() as stack:
            try:
                lock = lock_file(self.directory / "lock", mode=0o600, if_taken=taken)
                stack.enter_context(lock)
            except DeployBusy:
                current = self.in_flight()
                if current is None:
                    raise
                raise DeployBusy(id=current.id, state=current.state.value) from None
            yield

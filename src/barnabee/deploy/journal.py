"""What a switch is doing and has done: one file for each, written before the act it announces.

A record is all that is known to whoever takes up a switch that somebody else left. Nothing here
acts on a machine.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from barnabee.core.errors import NotFound
from barnabee.deploy.errors import DeployBusy
from barnabee.deploy.facts import Limits

DIRECTORY = Path("/var/lib/barnabee/deploys")


class State(StrEnum):
    """Where a switch is."""

    PLANNED = "planned"
    ACTIVATING = "activating"
    CHECKING = "checking"
    WAITING = "waiting"  # for the word of who asked for it
    KEEPING = "keeping"
    STAGING = "staging"  # tells the boot loader of a system that is tried at the next boot
    BOOTING = "booting"
    RETURNING = "returning"
    KEPT = "kept"
    RETURNED = "returned"
    REFUSED = "refused"
    STUCK = "stuck"


FINAL = frozenset({State.KEPT, State.RETURNED, State.REFUSED, State.STUCK})
EXIT = {State.KEPT: 0, State.RETURNED: 1, State.REFUSED: 2, State.BOOTING: 3, State.STUCK: 4}


class PinRef(BaseModel):
    """A moment of the database that can be brought back (`barnabee backup pin`)."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    id: str
    txid: int
    data_schema: int
    at: str = ""


class Step(BaseModel):
    """One thing that was done, and how it went."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    what: str
    ok: bool
    why: str = ""
    took_s: float


class Record(BaseModel):
    """One switch. `deadline_s` is of the clock since boot, which `boot_id` names."""

    model_config = ConfigDict(extra="ignore", frozen=True)
    id: str
    kind: Literal["switch", "rollback"]
    state: State
    target: str
    previous: str  # what ran before
    previous_profile: str  # what would have been booted before
    refuge: str  # where to go back to
    boot_id: str
    owner: str = ""
    deadline_s: float = 0
    started_at: str
    ended_at: str | None = None
    why: str = ""
    notes: tuple[str, ...] = ()
    pin: PinRef | None = None  # the database before anything was done
    failed_before: tuple[str, ...] = ()
    activated: bool = False  # the target's activation has begun
    profile_changed: bool = False  # what is booted may have changed
    staged: bool = False  # the target is tried by a boot, not by a switch
    data_moved: bool = False  # the database was to be put back with the system
    restoring: str = ""  # the pin that the database is being put back to
    restored: str = ""  # the pin that it was put back to
    wants_confirmation: bool = False
    returns: int = 0
    well: bool | None = None  # what it ended on was found well; None: it could not be asked
    limits: Limits
    steps: tuple[Step, ...] = ()

    @property
    def final(self) -> bool:
        """Return whether nothing is left to be done."""
        return self.state in FINAL

    def sentence(self) -> str:
        """Return how it ended, or where it is, for a person."""
        name = Path(self.target).name
        back = Path(self.refuge).name
        because = f": {self.why}" if self.why else ""
        well = {True: " and it is well", False: ", which is not well either", None: ""}[self.well]
        return {
            State.KEPT: f"{name} is kept{because}",
            State.RETURNED: f"went back to {back}{well}{because}"
            if self.activated or self.staged
            else f"nothing was changed{because}",
            State.REFUSED: f"refused, nothing was changed{because}",
            State.BOOTING: f"{name} is tried at the next boot{because}",
            State.STUCK: f"could not go back to {back}, a person is needed{because}",
        }.get(self.state, f"{self.state}{because}")


class Journal:
    """The records of one machine, in one directory."""

    def __init__(self, directory: Path = DIRECTORY) -> None:
        """Remember where they are; nothing is made before something is written."""
        self.directory = directory

    def write(self, record: Record) -> Record:
        """Put it on the disk, so that it is there after a power cut as well; return it."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        path = self.directory / f"{record.id}.json"
        scratch = path.with_suffix(".part")
        with scratch.open("w", encoding="utf-8") as file:
            file.write(record.model_dump_json(indent=2))
            file.flush()
            os.fsync(file.fileno())
        scratch.rename(path)
        handle = os.open(self.directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        return record

    def every(self) -> list[Record]:
        """Return all records that can be read, oldest first (an id begins with its moment)."""
        found = []
        for path in sorted(self.directory.glob("*.json")):
            with suppress(OSError, ValidationError):  # an old form must not stand in the way
                found.append(Record.model_validate_json(path.read_text(encoding="utf-8")))
        return found

    def find(self, record_id: str) -> Record:
        """Return one record; NotFound."""
        for record in self.every():
            if record.id == record_id:
                return record
        raise NotFound(what=f"switch {record_id!r} (`barnabee deploys` lists them)")

    def in_flight(self) -> Record | None:
        """Return the switch that has not ended."""
        return next((one for one in reversed(self.every()) if not one.final), None)

    def last_kept(self) -> str | None:
        """Return the system that was last found well."""
        for record in reversed(self.every()):
            if record.state == State.KEPT and record.well:
                return record.target
            if record.state == State.RETURNED and record.well:
                return record.refuge
        return None

    def confirm(self, record_id: str) -> None:
        """Say that whoever asked for this switch still reaches the machine."""
        self.find(record_id)
        (self.directory / f"{record_id}.confirmed").touch()

    def confirmed(self, record_id: str) -> bool:
        """Return whether that was said."""
        return (self.directory / f"{record_id}.confirmed").exists()

    def prune(self, kept: int) -> None:
        """Forget all but the newest; what has not ended stays."""
        for record in self.every()[:-kept]:
            if record.final:
                (self.directory / f"{record.id}.json").unlink(missing_ok=True)
                (self.directory / f"{record.id}.confirmed").unlink(missing_ok=True)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Hold this machine's switches; DeployBusy when somebody else does. Death lets go."""
        self.directory.mkdir(mode=0o755, parents=True, exist_ok=True)
        handle = os.open(self.directory / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(handle)
            if error.errno not in {errno.EWOULDBLOCK, errno.EAGAIN}:
                raise
            now = self.in_flight()
            told = (now.id, now.state.value) if now else ("?", "beginning")
            raise DeployBusy(id=told[0], state=told[1]) from error
        try:
            yield
        finally:
            os.close(handle)

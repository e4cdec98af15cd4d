"""What a system says of itself and of how to find out whether it is well.

The NixOS module writes it into the system as etc/barnabee/deploy.json, so that a system that is not
running can be asked as well. Knows nothing of machines.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from barnabee.deploy.errors import DeployRefused

FILE = Path("etc/barnabee/deploy.json")


class _Table(BaseModel):
    model_config = ConfigDict(extra="ignore", frozen=True)


class Limits(_Table):
    """How long each part may take: the table `deploy` of system.toml."""

    switch_s: int
    settle_s: int
    confirm_s: int
    data_s: int
    watch_every_s: int
    records_kept: int


class Data(_Table):
    """The database that this system's services write, and the units that pin and restore it.

    `machine` is the container they run in, None for the machine itself.
    """

    database: str
    pin_unit: str
    restore_unit: str  # a template: its instance is the pin's id
    house: str  # what to stop while the database is replaced
    machine: str | None = None


class Facts(_Table):
    """One system."""

    kernel: str | None  # None: a container, which has the kernel of the machine beneath
    driver: str | None  # version of the card's libraries, None without a card
    data_schema: int | None = Field(alias="schema")  # the newest its programs know
    checks: tuple[str, ...]  # units that fail while it is not well
    data: Data | None
    limits: Limits
    program: str  # its own `barnabee`


def of(system: Path) -> Facts | None:
    """Return what `system` says of itself, None when nothing; DeployRefused for nonsense."""
    try:
        text = (system / FILE).read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return Facts.model_validate_json(text)
    except ValidationError as error:
        where = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise DeployRefused(reason=f"{system / FILE} is not usable at {where}") from error

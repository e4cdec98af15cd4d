"""Who can open a snapshot: the recovery key, kept on paper, and this machine's own.

A snapshot is encrypted (age, X25519) to both. The machine's key lets the nightly drill open what
went off-site; it lies beside the local snapshots, is made when first needed and is never copied
anywhere. The recovery key's secret half is printed once by `barnabee backup kit` and kept nowhere.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from barnabee.core.errors import BadInput, SettingInvalid
from barnabee.core.schema import System
from barnabee.core.settings import credential

if TYPE_CHECKING:
    from pyrage.x25519 import Identity, Recipient

MACHINE_KEY = "machine.key"
RECIPIENT = "recovery_recipient"  # a credential; the setting in system.toml comes first
SNAPSHOT_KEY = "snapshot_key"  # a credential; without it the machine makes its own
SECRET_PREFIX = "AGE-SECRET-KEY-1"  # noqa: S105 - how each of them begins


@dataclass(frozen=True)
class Kit:
    """A new recovery key: the secret half for the drawer, the public one for the machine."""

    secret: str
    recipient: str


def make_kit() -> Kit:
    """Return a new recovery key."""
    from pyrage import x25519  # noqa: PLC0415 - 5 MiB that only snapshots need

    made = x25519.Identity.generate()
    return Kit(str(made), str(made.to_public()))


def recovery_recipient(system: System) -> str | None:
    """Return the public half of the recovery key, None when the house has none."""
    return system.backup.recovery_recipient or credential(RECIPIENT)


def recipients(system: System, folder: Path) -> list[Recipient]:
    """Return who can open a new snapshot; nobody when there is no recovery key.

    Raises SettingInvalid when the key that was given is none.
    """
    from pyrage import RecipientError, x25519  # noqa: PLC0415 - see `make_kit`

    told = recovery_recipient(system)
    if told is None:
        return []
    try:
        recovery = x25519.Recipient.from_str(told)
    except RecipientError as error:
        hint = "write the line age1… that `barnabee backup kit` printed"
        raise SettingInvalid(
            name="backup.recovery_recipient", reason=str(error), hint=hint
        ) from error
    return [recovery, _machine_key(folder).to_public()]


def machine_identities(folder: Path) -> list[Identity]:
    """Return this machine's own key, nothing when it never made an encrypted snapshot."""
    known = credential(SNAPSHOT_KEY) or (folder / MACHINE_KEY).exists()
    return [_machine_key(folder)] if known else []


def identity(text: str) -> Identity:
    """Return the key in `text`, which may be the whole kit as printed; BadInput when there is none.

    Says nothing of what it read, because it may be half a secret.
    """
    from pyrage import IdentityError, x25519  # noqa: PLC0415 - see `make_kit`

    words = [word for word in text.split() if word.upper().startswith(SECRET_PREFIX)]
    if not words:
        raise BadInput(what=f"There is no line {SECRET_PREFIX}… in the recovery kit")
    try:
        return x25519.Identity.from_str(words[0].upper())
    except IdentityError as error:
        reason = "a letter is wrong or missing"
        raise BadInput(what=f"The key in the recovery kit is not one: {reason}") from error


def _machine_key(folder: Path) -> Identity:
    from pyrage import x25519  # noqa: PLC0415 - see `make_kit`

    given = credential(SNAPSHOT_KEY)
    if given:
        return identity(given)
    path = folder / MACHINE_KEY
    if not path.exists():
        scratch = folder / f".{MACHINE_KEY}.{os.getpid()}"
        handle = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o640)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(f"{x25519.Identity.generate()}\n")
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(scratch, path)  # the first to come wins
        except FileExistsError:
            pass
        finally:
            scratch.unlink()
    return identity(path.read_text(encoding="utf-8"))

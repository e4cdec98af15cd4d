"""Encryption keys of snapshots: the recovery key, printed on paper, and this machine's own key.

A snapshot is encrypted (age, X25519) to both. With the machine's key the nightly drill opens
off-site snapshots; it is a file beside the local snapshots, made when first needed and never
copied. The recovery key's secret half is printed once by `barnabee backup kit` and not stored.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from barnabee.core.errors import BadInput, SettingInvalid
from barnabee.core.files import write_atomically
from barnabee.core.schema import System
from barnabee.core.settings import read_credential

if TYPE_CHECKING:
    from pyrage.x25519 import Identity, Recipient

MACHINE_KEY = "machine.key"
RECIPIENT_CREDENTIAL = "recovery_recipient"  # system.toml's backup.recovery_recipient comes first
SNAPSHOT_KEY_CREDENTIAL = "snapshot_key"  # without it the machine makes its own key
SECRET_PREFIX = "AGE-SECRET-KEY-1"  # noqa: S105 - the prefix of every secret key


@dataclass(frozen=True)
class RecoveryKit:
    """A new recovery key: the secret half for paper, the public half for the machine."""

    secret: str
    recipient: str


def make_recovery_kit() -> RecoveryKit:
    from pyrage import x25519  # noqa: PLC0415 - 5 MiB that only snapshots need

    identity = x25519.Identity.generate()
    return RecoveryKit(str(identity), str(identity.to_public()))


def recovery_recipient(system: System) -> str | None:
    """Return the public half of the recovery key, None when there is none."""
    return system.backup.recovery_recipient or read_credential(RECIPIENT_CREDENTIAL)


def snapshot_recipients(system: System, folder: Path) -> list[Recipient]:
    """Return the keys that can open a new snapshot; none when there is no recovery key.

    Raises SettingInvalid when the configured recovery key is not a key.
    """
    from pyrage import RecipientError, x25519  # noqa: PLC0415 - see `make_kit`

    configured = recovery_recipient(system)
    if configured is None:
        return []
    try:
        recovery = x25519.Recipient.from_str(configured)
    except RecipientError as error:
        hint = "write the line age1… that `barnabee backup kit` printed"
        raise SettingInvalid(
            name="backup.recovery_recipient", reason=str(error), hint=hint
        ) from error
    return [recovery, _machine_key(folder).to_public()]


def machine_identities(folder: Path) -> list[Identity]:
    """Return this machine's own key; empty when it never made an encrypted snapshot."""
    exists = read_credential(SNAPSHOT_KEY_CREDENTIAL) or (folder / MACHINE_KEY).exists()
    return [_machine_key(folder)] if exists else []


def parse_identity(text: str) -> Identity:
    """Return the key in `text`, which may be the whole printed kit; BadInput when there is none.

    No error quotes `text`: it may be part of a secret.
    """
    from pyrage import IdentityError, x25519  # noqa: PLC0415 - see `make_kit`

    words = [word for word in text.split() if word.upper().startswith(SECRET_PREFIX)]
    if not words:
        raise BadInput(what=f"There is no line {SECRET_PREFIX}… in the recovery kit")
    try:
        return x25519.Identity.from_str(words[0].upper())
    except IdentityError as error:
        reason = "a letter is wrong or missing"
        raise BadInput(what=f"The key in the recovery kit is not valid: {reason}") from error


def _machine_key(folder: Path) -> Identity:
    from pyrage import x25519  # noqa: PLC0415 - see `make_kit`

    given = read_credential(SNAPSHOT_KEY_CREDENTIAL)
    if given:
        return parse_identity(given)
    path = folder / MACHINE_KEY
    if not path.exists():
        scratch = folder / f".{MACHINE_KEY}.{os.getpid()}"
        write_atomically(scratch, f"{x25519.Identity.generate()}\n", mode=0o640, durable=True)
        try:
            with suppress(FileExistsError):  # another process made one first: use that
                os.link(scratch, path)
        finally:
            scratch.unlink()
    return parse_identity(path.read_text(encoding="utf-8"))

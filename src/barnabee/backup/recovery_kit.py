"""Recovery kit: one printed page with which restic alone brings the database back.

It has the address of the repository, its password and the commands. A digest of address and
password shows whether the printed page is still right.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import shutil
from dataclasses import dataclass, replace

from barnabee.backup import restic, restore, restore_sources, snapshots
from barnabee.backup.snapshots import SnapshotState, StepProgress
from barnabee.core.errors import BackupFailed, BadInput, NotFound
from barnabee.core.schema import System
from barnabee.core.settings import Settings

TEST_FOLDER = ".rehearsal"
_PASSWORD_LINE = re.compile(r"^\s*password:\s*(\S+)\s*$", re.MULTILINE)


@dataclass(frozen=True)
class RecoveryKitResult:
    """The snapshot that a recovery kit opened."""

    name: str
    rows: int


def repository_address(system: System, settings: Settings) -> str:
    """Return the address that restic knows the safest repository by."""
    offsite = system.backup.offsite
    return f"rclone:{offsite}" if offsite else str(settings.data_dir / restic.FOLDER)


def make_digest(system: System, settings: Settings, password: str) -> str:
    text = f"{repository_address(system, settings)}\n{password}"
    return hashlib.sha256(text.encode()).hexdigest()


def print_kit(system: System, settings: Settings) -> str:
    """Return the page, and record that it was printed; makes the password when there is none."""
    password = restic.make_password(settings)
    digest = make_digest(system, settings, password)
    state = replace(snapshots.read_state(settings), kit=digest, printed_kit=digest)
    snapshots.write_state(settings, state)
    return format_kit(repository_address(system, settings), password)


def is_printed(state: SnapshotState) -> bool:
    """Return whether the kit was printed since address and password last changed."""
    return state.printed_kit is not None and state.printed_kit == state.kit


def format_kit(address: str, password: str) -> str:
    remote = address.removeprefix("rclone:").partition(":")[0]
    needed = "restic (0.14 or newer) and sqlite3"
    if address.startswith("rclone:") and remote:
        needed += f", and rclone with its remote `{remote}` (secret rclone_conf, `rclone config`)"
    return f"""BarnabeeNet recovery kit

With this page anyone can read the snapshots. Print it and store it secretly, away from the machine.

    repository: {address}
    password:   {password}

To test it now and every few months:   barnabee restore --rehearse-recovery-kit
To restore from the newest snapshot:   barnabee restore --from snapshot --key FILE --force
                                       (with `--key -` you enter the password)
Without BarnabeeNet, on any machine with {needed}:

    export RESTIC_PASSWORD={password}
    restic -r {address} snapshots
    restic -r {address} restore latest --target recovered
    sqlite3 barnabee.db < recovered/{snapshots.DUMP}
"""


def parse_password(text: str) -> str:
    """Return the password in `text`, which may be the whole printed kit; BadInput without one.

    No error quotes `text`: it may be part of a secret.
    """
    if found := _PASSWORD_LINE.search(text):
        return found[1]
    words = text.split()
    if len(words) != 1:
        raise BadInput(what="There is no line `password: …` in the recovery kit")
    return words[0]


def verify_kit(
    system: System, settings: Settings, password: str, on_progress: StepProgress
) -> RecoveryKitResult:
    """Restore the newest snapshot to scratch with the kit's password alone, not the machine's.

    Blocks. Raises BackupFailed naming the step, SettingInvalid when the password is wrong.
    """
    source = restore_sources.find_snapshot_source(
        system, settings, password=password, prefer_offsite=True
    )
    if not isinstance(source, restore_sources.SnapshotSource):
        raise NotFound(what="snapshot that is encrypted: there is only a plain copy")
    folder = settings.data_dir / TEST_FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    try:
        result = asyncio.run(restore.restore_to_file(folder / "opened.db", source, on_progress))
    except BackupFailed as error:
        step, reason = error.fields["step"], error.fields["reason"]
        raise BackupFailed(what="recovery kit test", step=step, reason=reason) from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return RecoveryKitResult(source.name, result.rows)

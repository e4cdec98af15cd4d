"""The second, independent place for snapshots, reached with rclone.

`backup.offsite` in system.toml is `remote:folder`; the remote is defined in the credential
`rclone_conf`, which is rclone's own configuration file. `:local:/mnt/nas` needs none.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from barnabee.backup import rclone
from barnabee.backup.snapshots import DESCRIPTION, PLAIN, SEALED, Snapshot, files_of
from barnabee.core.errors import SettingMissing
from barnabee.core.schema import System

CREDENTIAL = "rclone_conf"
# Listing and reading a description; copying has as long as the drill or the timer has.
ASK_LIMIT_S = 60
COPY_LIMIT_S = 3600


def of(system: System) -> Offsite | None:
    """Return the second place, None when the house has none."""
    if not system.backup.offsite:
        return None
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    config = Path(directory) / CREDENTIAL if directory else Path("/dev/null")
    if not config.exists():
        if not system.backup.offsite.startswith(":"):
            hint = f"put rclone's configuration into the file `{CREDENTIAL}`"
            raise SettingMissing(name=f"credential {CREDENTIAL}", hint=hint)
        config = Path("/dev/null")
    return Offsite(system.backup.offsite, config)


@dataclass(frozen=True)
class Offsite:
    """One folder somewhere else."""

    place: str
    config: Path

    def names(self) -> list[str]:
        """Return the names of the finished snapshots there, oldest first. Raises DependencyDown."""
        listed = self._run("lsjson", "--files-only", self.place, limit_s=ASK_LIMIT_S, empty="[]")
        files = {str(one["Name"]) for one in json.loads(listed)}
        told = (name.removesuffix(DESCRIPTION) for name in files if name.endswith(DESCRIPTION))
        return sorted(name for name in told if files & {name + PLAIN, name + SEALED})

    def described(self, name: str) -> Snapshot:
        """Return the snapshot called `name`; ValueError when its description is none."""
        return Snapshot.loads(self._run("cat", self._at(name + DESCRIPTION), limit_s=ASK_LIMIT_S))

    def put(self, folder: Path, one: Snapshot) -> None:
        """Copy a snapshot there, its description last."""
        for name in (one.file, one.description):
            self._run("copyto", str(folder / name), self._at(name), limit_s=COPY_LIMIT_S)

    def get(self, one: Snapshot, folder: Path) -> None:
        """Copy a snapshot from there into `folder`."""
        for name in (one.file, one.description):
            self._run("copyto", self._at(name), str(folder / name), limit_s=COPY_LIMIT_S)

    def remove(self, names: Iterable[str]) -> None:
        """Delete snapshots there, description first."""
        for name in names:
            for file in files_of(name)[:2]:  # what is not encrypted never went there
                self._run("deletefile", self._at(file), limit_s=ASK_LIMIT_S)

    def _at(self, name: str) -> str:
        return self.place + (name if self.place.endswith((":", "/")) else f"/{name}")

    def _run(self, *arguments: str, limit_s: float, empty: str | None = None) -> str:
        return rclone.run(
            *arguments,
            place=f"off-site {self.place}",
            limit_s=limit_s,
            config=self.config,
            empty=empty,
        )


def require_encrypted(system: System, recipient: str | None) -> None:
    """Raise SettingMissing when snapshots would leave the house without a recovery key."""
    if system.backup.offsite and recipient is None:
        hint = (
            "make a key with `barnabee backup kit`: snapshots stay on this machine until there is "
            "one, or empty backup.offsite"
        )
        raise SettingMissing(name="backup.recovery_recipient", hint=hint)

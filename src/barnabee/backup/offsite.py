"""Off-site store of snapshots, reached with rclone.

`backup.offsite` in system.toml is `remote:folder`; the remote is defined in the credential
`rclone_conf`, which is rclone's own configuration file. `:local:/mnt/nas` needs none.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from barnabee.backup.snapshots import DESCRIPTION, PLAIN, SEALED, Snapshot, snapshot_files
from barnabee.core.errors import DependencyDown, SettingMissing
from barnabee.core.schema import System
from barnabee.core.settings import read_variable

RCLONE_CREDENTIAL = "rclone_conf"
REQUEST_LIMIT_S = 60  # of listing, deleting, and reading a description
COPY_LIMIT_S = 3600
STDERR_MAX_CHARS = 300
_DIRECTORY_NOT_FOUND = 3  # exit status of rclone


def open_offsite(system: System) -> OffsiteStore | None:
    """Return the configured off-site store, None when there is none."""
    if not system.backup.offsite:
        return None
    directory = read_variable("CREDENTIALS_DIRECTORY")
    config = Path(directory) / RCLONE_CREDENTIAL if directory else Path("/dev/null")
    if not config.exists():
        if not system.backup.offsite.startswith(":"):
            hint = f"put rclone's configuration into the file `{RCLONE_CREDENTIAL}`"
            raise SettingMissing(name=f"credential {RCLONE_CREDENTIAL}", hint=hint)
        config = Path("/dev/null")
    return OffsiteStore(system.backup.offsite, config)


@dataclass(frozen=True)
class OffsiteStore:
    """Snapshots in one rclone folder."""

    location: str
    config: Path

    def list_names(self) -> list[str]:
        """Return the names of the complete snapshots, oldest first. Raises DependencyDown."""
        listed = self._run(
            "lsjson", "--files-only", self.location, limit_s=REQUEST_LIMIT_S, empty="[]"
        )
        files = {str(entry["Name"]) for entry in json.loads(listed)}
        described = (name.removesuffix(DESCRIPTION) for name in files if name.endswith(DESCRIPTION))
        return sorted(name for name in described if files & {name + PLAIN, name + SEALED})

    def read_description(self, name: str) -> Snapshot:
        """Return the snapshot `name`; ValueError when its description is not valid."""
        return Snapshot.loads(
            self._run("cat", self._at(name + DESCRIPTION), limit_s=REQUEST_LIMIT_S)
        )

    def upload(self, folder: Path, snapshot: Snapshot) -> None:
        """Copy a snapshot from `folder`, its description last."""
        for name in (snapshot.file, snapshot.description):
            self._run("copyto", str(folder / name), self._at(name), limit_s=COPY_LIMIT_S)

    def download(self, snapshot: Snapshot, folder: Path) -> None:
        """Copy a snapshot into `folder`."""
        for name in (snapshot.file, snapshot.description):
            self._run("copyto", self._at(name), str(folder / name), limit_s=COPY_LIMIT_S)

    def delete(self, names: Iterable[str]) -> None:
        """Delete snapshots, description first."""
        for name in names:
            for file in snapshot_files(name)[:2]:  # only encrypted ones are uploaded
                self._run("deletefile", self._at(file), limit_s=REQUEST_LIMIT_S)

    def _at(self, name: str) -> str:
        return self.location + (name if self.location.endswith((":", "/")) else f"/{name}")

    def _run(self, *arguments: str, limit_s: float, empty: str | None = None) -> str:
        return run_rclone(
            *arguments,
            dependency=f"off-site {self.location}",
            limit_s=limit_s,
            config=self.config,
            empty=empty,
        )


def require_recovery_key(system: System, recipient: str | None) -> None:
    """Raise SettingMissing when snapshots are to go off-site and there is no recovery key."""
    if system.backup.offsite and recipient is None:
        hint = (
            "make a key with `barnabee backup kit`: snapshots stay on this machine until there is "
            "one, or empty backup.offsite"
        )
        raise SettingMissing(name="backup.recovery_recipient", hint=hint)


# --- The rclone program -------------------------------------------------------------------------


def find_rclone() -> Path:
    """Return the rclone program, on PATH or beside this Python; SettingMissing without one."""
    found = shutil.which("rclone") or shutil.which("rclone", path=sysconfig.get_path("scripts"))
    if not found:
        hint = "install it (on NixOS it is there), or empty backup.offsite"
        raise SettingMissing(name="rclone", hint=hint)
    return Path(found)


def run_rclone(
    *arguments: str,
    dependency: str,
    limit_s: float,
    config: Path = Path("/dev/null"),
    environment: Mapping[str, str] | None = None,
    empty: str | None = None,
) -> str:
    """Return what rclone prints; `empty`, if given, when the folder does not exist.

    Raises DependencyDown about `dependency` with the end of rclone's stderr.
    """
    command = [str(find_rclone()), "--config", str(config), "--retries", "2", *arguments]
    inherited = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "RCLONE_")) and name != "CREDENTIALS_DIRECTORY"
    }
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**inherited, **(environment or {})},
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        reason = f"no answer within {limit_s:.0f} s"
        raise DependencyDown(dependency=dependency, reason=reason) from error
    if done.returncode == _DIRECTORY_NOT_FOUND and empty is not None:
        return empty
    if done.returncode:
        reason = done.stderr.strip()[-STDERR_MAX_CHARS:] or "rclone gave no reason"
        raise DependencyDown(dependency=dependency, reason=reason)
    return done.stdout

"""Repositories of restic: encrypted, deduplicated snapshots, in a folder here and off-site.

Only options of restic 0.14 (Debian 12) are used. The off-site repository is `backup.offsite` in
rclone's form `remote:folder`; the remote is defined in the credential `rclone_conf`, which is
rclone's own configuration file. `:local:/mnt/nas` needs none.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path

from barnabee.core.errors import (
    BackupFailed,
    BarnabeeError,
    DependencyDown,
    NotFound,
    Overloaded,
    SettingInvalid,
    SettingMissing,
)
from barnabee.core.files import write_atomically
from barnabee.core.schema import System
from barnabee.core.settings import Settings, read_credential, read_variable

FOLDER = "restic"
PASSWORD = "restic_password"  # noqa: S105 - a credential, or the file beside the local repository
RCLONE_CREDENTIAL = "rclone_conf"
HOST = "barnabee"
CHECK_PARTS = 30  # each night's check reads one part: all data in a month
REQUEST_LIMIT_S = 120
WORK_LIMIT_S = 3600
STDERR_MAX_CHARS = 300
# Exit statuses since restic 0.17; before, the status is 1 and the text tells.
_NO_REPOSITORY, _LOCKED, _WRONG_PASSWORD = 10, 11, 12
_STACK_FRAME = re.compile(r"^\S+\n\t\S+:\d+\n?", re.MULTILINE)  # of Go, after an unusual error
_NO_PASSWORD = "unknown"  # noqa: S105 - opens nothing, and shows whether there is a repository


@dataclass(frozen=True)
class ResticSnapshot:
    """One snapshot of a repository."""

    id: str
    at: datetime


@dataclass(frozen=True)
class Repository:
    """One repository; `address` is what restic calls it. All methods block.

    They raise NotFound when there is no repository, SettingInvalid when the password is wrong,
    Overloaded while another restic has locked it, BackupFailed with restic's reason when its data
    is damaged or its disk full, DependencyDown when the off-site store does not answer.
    """

    address: str
    password: str
    rclone_config: Path | None = None

    def make_if_missing(self, like: Repository | None = None) -> None:
        """Make the repository, with the chunks of `like`, so that copies share their data."""
        try:
            self._run("cat", "config", limit_s=REQUEST_LIMIT_S)
        except NotFound:
            chunker = ("--copy-chunker-params", "--from-repo", like.address) if like else ()
            self._run("init", *chunker, limit_s=REQUEST_LIMIT_S)
            if self.rclone_config is None:
                self._share_with_group()

    def back_up(self, folder: Path, at: datetime) -> str:
        """Store the files of `folder`; return the id of the new snapshot."""
        time = f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
        files = sorted(path.name for path in folder.iterdir())
        output = self._run(
            *("backup", "--json", "--quiet", "--host", HOST, "--time", time, *files), cwd=folder
        )
        return str(json.loads(output.splitlines()[-1])["snapshot_id"])

    def list_snapshots(self) -> list[ResticSnapshot]:
        """Return the snapshots, oldest first; none where there is no repository."""
        try:
            listed = json.loads(self._run("snapshots", "--json", limit_s=REQUEST_LIMIT_S))
        except NotFound:
            return []
        found = (
            ResticSnapshot(entry["short_id"], datetime.fromisoformat(entry["time"]))
            for entry in listed
        )
        return sorted(found, key=lambda snapshot: snapshot.at)

    def restore(self, snapshot_id: str, target: Path) -> None:
        """Write the files of a snapshot into `target`."""
        self._run("restore", snapshot_id, "--target", str(target))

    def copy_missing(self, source: Repository) -> None:
        """Copy the snapshots of `source` that are not here yet; the password is the same."""
        self._run("copy", "--from-repo", source.address)

    def forget(self, days: int) -> None:
        """Delete the snapshots that are `days` older than the newest one, and their data."""
        kept = ("--group-by", "", "--keep-within", f"{days}d")
        self._run("forget", *kept, "--prune")

    def check(self, day: date) -> None:
        """Check the structure, and read the part of the data that is due on `day`."""
        part = day.toordinal() % CHECK_PARTS + 1
        self._run("check", f"--read-data-subset={part}/{CHECK_PARTS}")

    def _share_with_group(self) -> None:
        """Let the services' group read it: restic gives new files the mode of `config`."""
        folder = Path(self.address)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o770 if path.is_dir() else 0o440)

    def _run(self, *arguments: str, limit_s: float = WORK_LIMIT_S, cwd: Path | None = None) -> str:
        try:
            return self._run_once(*arguments, limit_s=limit_s, cwd=cwd)
        except Overloaded:
            # Deletes only the locks of processes that are gone, or that are older than 30 minutes.
            self._run_once("unlock", limit_s=REQUEST_LIMIT_S)
            return self._run_once(*arguments, limit_s=limit_s, cwd=cwd)

    def _run_once(self, *arguments: str, limit_s: float, cwd: Path | None = None) -> str:
        own = {"RESTIC_PASSWORD": self.password, "RESTIC_FROM_PASSWORD": self.password, "TZ": "UTC"}
        options = ["--no-cache", "--repo", self.address]
        if self.rclone_config is not None:
            options += ["-o", f"rclone.program={find_rclone()}"]
            own["RCLONE_CONFIG"] = str(self.rclone_config)
        try:
            done = subprocess.run(
                [find_restic(), *options, *arguments],
                capture_output=True,
                text=True,
                cwd=cwd,
                env=make_environment(own),
                timeout=limit_s,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            reason = f"no answer within {limit_s:.0f} s"
            raise DependencyDown(dependency=self.address, reason=reason) from error
        if done.returncode:
            raise self._translate_failure(arguments[0], done.returncode, done.stderr)
        return done.stdout

    def _translate_failure(self, command: str, status: int, stderr: str) -> BarnabeeError:
        if status == _WRONG_PASSWORD or "wrong password" in stderr:
            reason = f"it does not open the snapshots in {self.address}"
            hint = "put the password of the recovery kit into it"
            return SettingInvalid(name=PASSWORD, reason=reason, hint=hint)
        # The question follows whatever prevents reading the file `config`.
        is_missing = "Is there a repository" in stderr and (
            "does not exist" in stderr or "no such file or directory" in stderr
        )
        if status == _NO_REPOSITORY or is_missing:
            hint = "`barnabee backup snapshot` makes one"
            return NotFound(what=f"snapshot in {self.address}: {hint}")
        if status == _LOCKED or "repository is already locked" in stderr:
            return Overloaded(what=f"the repository {self.address}, which another restic uses,")
        lines = _STACK_FRAME.sub("", stderr).replace("Fatal: ", "").split("\n")
        text = "; ".join(line.strip() for line in lines if line.strip())
        reason = text[-STDERR_MAX_CHARS:] or f"restic ended with {status}"
        if self.rclone_config is None or command in {"check", "restore"}:
            what = f"work of restic on {self.address}"
            return BackupFailed(what=what, step=command, reason=reason)
        return DependencyDown(dependency=self.address, reason=reason)


def find_restic() -> str:
    """Return the path of restic; SettingMissing without it."""
    program = shutil.which("restic")
    if program is None:
        raise SettingMissing(name="restic", hint="install it: sudo apt-get install restic")
    return program


def find_rclone() -> str:
    """Return the path of rclone, on PATH or beside this Python; SettingMissing without it."""
    found = shutil.which("rclone") or shutil.which("rclone", path=sysconfig.get_path("scripts"))
    if not found:
        hint = "install it (on NixOS it is there), or empty backup.offsite"
        raise SettingMissing(name="rclone", hint=hint)
    return found


def make_environment(own: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with `own`, without what configures rclone and restic."""
    others = ("AWS_", "RCLONE_", "RESTIC_", "CREDENTIALS_DIRECTORY")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return {**kept, **own}


def describe_missing() -> str | None:
    """Return what snapshots lack on this machine, None when restic is there."""
    if shutil.which("restic"):
        return None
    return (
        "restic is not installed, so that there is only a plain copy of the database on this disk: "
        "sudo apt-get install restic"
    )


def open_local(settings: Settings, password: str | None = None) -> Repository:
    """Return the repository on this machine, with `password` or the machine's own."""
    address = str(settings.data_dir / FOLDER)
    return Repository(address, password or read_password(settings) or _NO_PASSWORD)


def open_offsite(
    system: System, settings: Settings, password: str | None = None
) -> Repository | None:
    """Return the off-site repository, None when none is configured.

    Raises SettingMissing when the remote is not defined.
    """
    if not system.backup.offsite:
        return None
    config = find_rclone_config()
    if config is None and not system.backup.offsite.startswith(":"):
        hint = f"put rclone's configuration into the file `{RCLONE_CREDENTIAL}`"
        raise SettingMissing(name=f"credential {RCLONE_CREDENTIAL}", hint=hint)
    known = password or read_password(settings) or _NO_PASSWORD
    return Repository(f"rclone:{system.backup.offsite}", known, config or Path("/dev/null"))


def find_rclone_config() -> Path | None:
    """Return the file of the credential `rclone_conf`, None when there is none."""
    directory = read_variable("CREDENTIALS_DIRECTORY")
    config = Path(directory) / RCLONE_CREDENTIAL if directory else None
    return config if config and config.exists() else None


def read_password(settings: Settings) -> str | None:
    """Return the machine's password: the credential, else the file; None before it is made."""
    if given := read_credential(PASSWORD):
        return given
    with suppress(FileNotFoundError):
        return (settings.data_dir / PASSWORD).read_text(encoding="utf-8").strip() or None
    return None


def make_password(settings: Settings, text: str | None = None) -> str:
    """Return the machine's password; without one store `text`, or a new one in groups for paper."""
    if existing := read_password(settings):
        return existing
    digits = secrets.token_hex(16)
    text = text or "-".join(digits[at : at + 4] for at in range(0, len(digits), 4))
    path = settings.data_dir / PASSWORD
    scratch = path.with_name(f".{PASSWORD}.{os.getpid()}")
    write_atomically(scratch, f"{text}\n", mode=0o640, durable=True)
    try:
        with suppress(FileExistsError):  # another process made one first: use that
            os.link(scratch, path)
    finally:
        scratch.unlink()
    return path.read_text(encoding="utf-8").strip()

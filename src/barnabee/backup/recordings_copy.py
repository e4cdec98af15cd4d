"""Recordings, copied to the house's own storage every hour, and forgotten there as they are here.

rsync does the copying; `backup.audio_to` is what rsync calls a destination: a mounted folder, or
`user@nas:folder` with the credential `nas_ssh_key`. A recording that was not copied yet is not
deleted here (`copied_before`), and nothing there is deleted but whole days that are too old: an
empty disk here must not empty the storage.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import structlog

from barnabee.core.errors import DependencyDown, SettingMissing
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.store import recordings

FILE = "audio.json"
KEY = "nas_ssh_key"
LIMIT_S = 3000  # the next round begins after an hour
_LAST_WORDS_CHARS = 300
_DAY = re.compile(r"\s(\d{4}-\d\d-\d\d)$")

log = structlog.get_logger()


@dataclass(frozen=True)
class Copied:
    """How copying goes: what is over there for sure, and since when it fails."""

    at: str | None = None  # everything written before this moment has been copied
    failures: int = 0  # in a row
    reason: str | None = None

    @property
    def before(self) -> datetime | None:
        """Return the moment as one."""
        return datetime.fromisoformat(self.at) if self.at else None


def state(data: Path) -> Copied:
    """Return how copying goes."""
    try:
        return Copied(**json.loads((data / FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return Copied()


def copied_before(system: System, settings: Settings) -> datetime | None:
    """Return before which moment a recording must be written to be deleted; None: no matter when.

    A house that copies nothing deletes by age alone.
    """
    if not system.backup.audio_to:
        return None
    return state(settings.data_dir).before or datetime.fromtimestamp(0, UTC)


def run(system: System, settings: Settings) -> Copied:
    """Copy what is new, delete the days over there that are too old; return how it went.

    Blocks. Raises DependencyDown when the storage does not answer, after writing that down.
    """
    if not system.backup.audio_to:
        raise SettingMissing(name="backup.audio_to", hint="name the folder that recordings go to")
    now, before = datetime.now(UTC), state(settings.data_dir)
    source = settings.data_dir / recordings.FOLDER
    try:
        if source.is_dir():
            _copy(source, system.backup.audio_to)
            _forget(
                system.backup.audio_to, now.date() - timedelta(days=system.retention.audio_days)
            )
    except DependencyDown as error:
        failed = replace(before, failures=before.failures + 1, reason=str(error))
        _write(settings.data_dir, failed)
        log.warning(
            "audio_not_copied", code=error.code, reason=str(error), failures=failed.failures
        )
        raise
    done = Copied(now.isoformat(timespec="seconds"))
    _write(settings.data_dir, done)
    log.info("audio_copied", to=system.backup.audio_to)
    return done


def _copy(source: Path, destination: str) -> None:
    _rsync(
        "--recursive",
        "--times",
        "--chmod=D0700,F0600",
        # Days and finished recordings; what is being written has another name.
        *("--include=/*/", "--include=/*/*.wav", "--exclude=*"),
        f"{source}/",
        f"{destination.rstrip('/')}/",
    )


def _forget(destination: str, oldest: date) -> None:
    """Delete days before `oldest` over there, by copying an empty folder over them alone."""
    place = f"{destination.rstrip('/')}/"
    listed = _rsync("--list-only", place).splitlines()
    days = [found[1] for line in listed if (found := _DAY.search(line))]
    gone = [day for day in days if day < oldest.isoformat()]
    if not gone:
        return
    with tempfile.TemporaryDirectory() as empty:
        chosen = [f"--include=/{day}/***" for day in gone]
        _rsync("--recursive", "--delete", *chosen, "--exclude=*", f"{empty}/", place)
    log.info("audio_expired", days=len(gone))


def _rsync(*arguments: str) -> str:
    found = shutil.which("rsync")
    if not found:
        raise SettingMissing(name="rsync", hint="install it, or empty backup.audio_to")
    command = [found, "--timeout=60", *_shell(), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        reason = f"no end within {LIMIT_S} s"
        raise DependencyDown(dependency="the storage for recordings", reason=reason) from error
    if done.returncode:
        reason = done.stderr.strip()[-_LAST_WORDS_CHARS:] or f"rsync ended with {done.returncode}"
        raise DependencyDown(dependency="the storage for recordings", reason=reason)
    return done.stdout


def _shell() -> list[str]:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    if not directory or not (Path(directory) / KEY).exists():
        return []
    known = Path(os.environ.get("STATE_DIRECTORY", tempfile.gettempdir())) / "known_hosts"
    options = ("BatchMode=yes", "StrictHostKeyChecking=accept-new", f"UserKnownHostsFile={known}")
    told = " ".join(f"-o {option}" for option in options)
    return ["--rsh", f"ssh -i {Path(directory) / KEY} {told}"]


def _write(data: Path, copied: Copied) -> None:
    scratch = data / f".{FILE}.new"
    with suppress(OSError):  # a full disk is told by others
        scratch.write_text(json.dumps(asdict(copied)), encoding="utf-8")
        scratch.replace(data / FILE)

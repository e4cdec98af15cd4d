"""Copy of the recordings to local storage (a NAS) every hour, with the same retention as here.

`backup.audio_to` is a destination of rsync: a mounted folder, or `user@nas:folder` with the
credential `nas_ssh_key`. A recording that was not copied yet is not deleted here (`copied_before`).
At the destination only whole expired days are deleted, so that an empty disk here does not empty
it.
"""

from __future__ import annotations

import json
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
from barnabee.core.files import write_atomically
from barnabee.core.schema import System
from barnabee.core.settings import Settings, read_variable
from barnabee.store import recordings

STATE_FILE = "audio.json"
SSH_KEY_CREDENTIAL = "nas_ssh_key"
LIMIT_S = 3000  # the next run starts after an hour
_STDERR_MAX_CHARS = 300
_LISTED_DAY = re.compile(r"\s(\d{4}-\d\d-\d\d)$")

log = structlog.get_logger()


@dataclass(frozen=True)
class CopyState:
    """State of the copy, stored in `audio.json`."""

    at: str | None = None  # everything written before this time has been copied
    failures: int = 0  # in a row
    reason: str | None = None

    @property
    def copied_before(self) -> datetime | None:
        return datetime.fromisoformat(self.at) if self.at else None


def read_state(data: Path) -> CopyState:
    """Return the stored state; the initial one when it is missing or unreadable."""
    try:
        return CopyState(**json.loads((data / STATE_FILE).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return CopyState()


def copied_before(system: System, settings: Settings) -> datetime | None:
    """Return the time before which all recordings are copied, None where none are to be copied."""
    if not system.backup.audio_to:
        return None
    return read_state(settings.data_dir).copied_before or datetime.fromtimestamp(0, UTC)


def copy_recordings(system: System, settings: Settings) -> CopyState:
    """Copy new recordings and delete expired days at the destination; return the new state.

    Blocks. Raises DependencyDown when the storage does not answer; the failure is recorded.
    """
    if not system.backup.audio_to:
        raise SettingMissing(name="backup.audio_to", hint="name the folder that recordings go to")
    now, before = datetime.now(UTC), read_state(settings.data_dir)
    source = settings.data_dir / recordings.FOLDER
    try:
        if source.is_dir():
            _copy_new(source, system.backup.audio_to)
            _delete_expired(
                system.backup.audio_to, now.date() - timedelta(days=system.retention.audio_days)
            )
    except DependencyDown as error:
        failed = replace(before, failures=before.failures + 1, reason=str(error))
        _write_state(settings.data_dir, failed)
        log.warning(
            "audio_not_copied", code=error.code, reason=str(error), failures=failed.failures
        )
        raise
    state = CopyState(now.isoformat(timespec="seconds"))
    _write_state(settings.data_dir, state)
    log.info("audio_copied", to=system.backup.audio_to)
    return state


def _copy_new(source: Path, destination: str) -> None:
    _run_rsync(
        "--recursive",
        "--times",
        "--chmod=D0700,F0600",
        # Days and complete recordings: unfinished ones have another name.
        *("--include=/*/", "--include=/*/*.wav", "--exclude=*"),
        f"{source}/",
        f"{destination.rstrip('/')}/",
    )


def _delete_expired(destination: str, oldest: date) -> None:
    """Delete the days before `oldest` by copying an empty folder over them."""
    target = f"{destination.rstrip('/')}/"
    listed = _run_rsync("--list-only", target).splitlines()
    days = [match[1] for line in listed if (match := _LISTED_DAY.search(line))]
    expired = [day for day in days if day < oldest.isoformat()]
    if not expired:
        return
    with tempfile.TemporaryDirectory() as empty:
        included = [f"--include=/{day}/***" for day in expired]
        _run_rsync("--recursive", "--delete", *included, "--exclude=*", f"{empty}/", target)
    log.info("audio_expired", days=len(expired))


def _run_rsync(*arguments: str) -> str:
    found = shutil.which("rsync")
    if not found:
        raise SettingMissing(name="rsync", hint="install it, or empty backup.audio_to")
    command = [found, "--timeout=60", *_ssh_arguments(), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT_S, check=False)
    except subprocess.TimeoutExpired as error:
        reason = f"rsync did not finish within {LIMIT_S} s"
        raise DependencyDown(dependency="the storage for recordings", reason=reason) from error
    if done.returncode:
        reason = done.stderr.strip()[-_STDERR_MAX_CHARS:] or f"rsync ended with {done.returncode}"
        raise DependencyDown(dependency="the storage for recordings", reason=reason)
    return done.stdout


def _ssh_arguments() -> list[str]:
    directory = read_variable("CREDENTIALS_DIRECTORY")
    if not directory or not (Path(directory) / SSH_KEY_CREDENTIAL).exists():
        return []
    known = Path(read_variable("STATE_DIRECTORY", tempfile.gettempdir())) / "known_hosts"
    options = ("BatchMode=yes", "StrictHostKeyChecking=accept-new", f"UserKnownHostsFile={known}")
    arguments = " ".join(f"-o {option}" for option in options)
    return ["--rsh", f"ssh -i {Path(directory) / SSH_KEY_CREDENTIAL} {arguments}"]


def _write_state(data: Path, state: CopyState) -> None:
    with suppress(OSError):  # other checks report a full disk
        write_atomically(data / STATE_FILE, json.dumps(asdict(state)))

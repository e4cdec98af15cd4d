"""The rclone program, for whoever copies files to other places."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from collections.abc import Mapping
from pathlib import Path

from barnabee.core.errors import DependencyDown, SettingMissing

LAST_WORDS_CHARS = 300
_NO_DIRECTORY = 3  # its exit status for a folder that is not there


def program() -> Path:
    """Return the rclone program: on PATH, or beside this Python."""
    found = shutil.which("rclone") or shutil.which("rclone", path=sysconfig.get_path("scripts"))
    if not found:
        hint = "install it (on NixOS it is there), or empty backup.offsite"
        raise SettingMissing(name="rclone", hint=hint)
    return Path(found)


def run(
    *arguments: str,
    place: str,
    limit_s: float,
    config: Path = Path("/dev/null"),
    environment: Mapping[str, str] | None = None,
    empty: str | None = None,
) -> str:
    """Return what rclone prints; `empty` when the folder it was asked about is not there.

    Raises DependencyDown about `place` with rclone's own last words.
    """
    command = [str(program()), "--config", str(config), "--retries", "2", *arguments]
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("AWS_", "RCLONE_")) and name != "CREDENTIALS_DIRECTORY"
    }
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env={**kept, **(environment or {})},
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        reason = f"no answer within {limit_s:.0f} s"
        raise DependencyDown(dependency=place, reason=reason) from error
    if done.returncode == _NO_DIRECTORY and empty is not None:
        return empty
    if done.returncode:
        reason = done.stderr.strip()[-LAST_WORDS_CHARS:] or "rclone gave no reason"
        raise DependencyDown(dependency=place, reason=reason)
    return done.stdout

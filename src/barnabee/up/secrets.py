"""The secret files of a local run: made once, handed to each service alone.

`secrets/` holds one file per secret (0600 in a 0700 directory). A service gets copies of the ones
that system.toml lists for it, in a directory of its own (`CREDENTIALS_DIRECTORY`, as systemd does).
Backblaze's two keys are the user's, or made up here for the S3 server on this machine.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from barnabee.core.errors import SettingMissing
from barnabee.up.paths import Paths

API_TOKEN = "api_token"  # noqa: S105 - the name of the file
DEMO_WEBHOOK = "demo_home_webhook_id"
KEY_ID = "b2_key_id"
KEY = "b2_application_key"
# Holds the key id that was made up here: a different one in `b2_key_id` is the user's own.
_LOCAL = "b2_made_here"


def make(paths: Paths) -> None:
    """Make the secrets that are missing; SettingMissing when half of Backblaze's pair is there."""
    paths.secrets.chmod(0o700)
    _create(paths.secrets / API_TOKEN, secrets.token_urlsafe(32))
    _create(paths.secrets / DEMO_WEBHOOK, secrets.token_hex(16))
    given = [name for name in (KEY_ID, KEY) if (paths.secrets / name).is_file()]
    if len(given) == 1:
        missing = KEY if given == [KEY_ID] else KEY_ID
        hint = f"put both keys of the bucket into {paths.secrets}, or neither"
        raise SettingMissing(name=f"secret {missing}", hint=hint)
    if not given:
        identity = f"local{secrets.token_hex(8)}"
        _create(paths.secrets / _LOCAL, identity)
        _create(paths.secrets / KEY, secrets.token_hex(20))
        _create(paths.secrets / KEY_ID, identity)


def read(paths: Paths, name: str) -> str | None:
    """Return a secret, or None when its file is missing or empty."""
    try:
        return (paths.secrets / name).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def replica_is_local(paths: Paths) -> bool:
    """Return whether the replica's keys were made here, so that its S3 server must be too."""
    return read(paths, _LOCAL) is not None and read(paths, _LOCAL) == read(paths, KEY_ID)


def hand_out(
    paths: Paths, service: str, names: Iterable[str], instead: Mapping[str, Path] | None = None
) -> Path:
    """Return the directory that holds this service's secrets and no others.

    `instead` names other files to take a secret from. What does not exist is left out.
    """
    directory = paths.run / "credentials" / service
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    for name in names:
        source = (instead or {}).get(name, paths.secrets / name)
        if source.is_file():
            _create(directory / name, source.read_text(encoding="utf-8"), mode=0o400)
    return directory


def take_back(paths: Paths) -> None:
    """Delete what was handed out."""
    shutil.rmtree(paths.run / "credentials", ignore_errors=True)


def _create(path: Path, value: str, mode: int = 0o600) -> None:
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(value)

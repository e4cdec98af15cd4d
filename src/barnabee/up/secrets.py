"""Secret files of a local run: generated once, and copied for each service that needs them.

`secrets/` has one file per secret (0600 in a 0700 directory). A service gets copies of those that
system.toml lists for it in its own `CREDENTIALS_DIRECTORY`, as with systemd. Backblaze's two keys
are the user's, or generated here for the S3 server on this machine.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from barnabee.core.errors import SettingMissing
from barnabee.core.settings import redis_password_name
from barnabee.core.tokens import Scope, TokenStore, lock_tokens
from barnabee.up.paths import Paths

API_TOKEN = "api_token"  # noqa: S105 - the name of the file
DEMO_WEBHOOK = "demo_home_webhook_id"
_REDIS_USERS = ("api", "worker")
B2_KEY_ID = "b2_key_id"
B2_KEY = "b2_application_key"
# Holds the key id that was generated here: a different one in `b2_key_id` is the user's own.
_GENERATED_KEY_ID = "b2_made_here"


def ensure_secrets(paths: Paths) -> None:
    """Generate the secrets that are missing.

    Raises SettingMissing when only one of Backblaze's two keys exists.
    """
    paths.secrets.chmod(0o700)
    _create(paths.secrets / API_TOKEN, secrets.token_urlsafe(32))
    open_token_store(paths.secrets, paths.run / "credentials").refresh()
    _create(paths.secrets / DEMO_WEBHOOK, secrets.token_hex(16))
    for user in _REDIS_USERS:
        _create(paths.secrets / redis_password_name(user), secrets.token_hex(32))
    existing = [name for name in (B2_KEY_ID, B2_KEY) if (paths.secrets / name).is_file()]
    if len(existing) == 1:
        missing = B2_KEY if existing == [B2_KEY_ID] else B2_KEY_ID
        hint = f"put both keys of the bucket into {paths.secrets}, or neither"
        raise SettingMissing(name=f"secret {missing}", hint=hint)
    if not existing:
        key_id = f"local{secrets.token_hex(8)}"
        _create(paths.secrets / _GENERATED_KEY_ID, key_id)
        _create(paths.secrets / B2_KEY, secrets.token_hex(20))
        _create(paths.secrets / B2_KEY_ID, key_id)


def open_token_store(directory: Path, copies: Path) -> TokenStore:
    """Return the store of the tokens in `directory`; SettingMissing without an admin token."""
    try:
        token = (directory / API_TOKEN).read_text(encoding="utf-8").strip()
    except FileNotFoundError as error:
        hint = f"there is no file {directory / API_TOKEN}"
        raise SettingMissing(name=f"secret {API_TOKEN}", hint=hint) from error
    return TokenStore(directory, token, copies)


def read_secret(paths: Paths, name: str) -> str | None:
    """Return a secret, or None when its file is missing or empty."""
    try:
        return (paths.secrets / name).read_text(encoding="utf-8").strip() or None
    except FileNotFoundError:
        return None


def read_metrics_token(paths: Paths) -> str | None:
    """Return the token with which services tell the reasons of their states."""
    return read_secret(paths, Scope.METRICS.credential)


def is_replica_local(paths: Paths) -> bool:
    """Return whether the replica's keys were generated here, for the S3 server on this machine."""
    generated = read_secret(paths, _GENERATED_KEY_ID)
    return generated is not None and generated == read_secret(paths, B2_KEY_ID)


def issue_credentials(
    paths: Paths, service: str, names: Iterable[str], sources: Mapping[str, Path] | None = None
) -> Path:
    """Return a new directory with copies (0400) of the secrets `names` for one service.

    `sources` names other files to copy a secret from. Secrets that do not exist are left out.
    """
    directory = paths.run / "credentials" / service
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, mode=0o700)
    with lock_tokens(paths.secrets):
        for name in names:
            source = (sources or {}).get(name, paths.secrets / name)
            if source.is_file():
                _create(directory / name, source.read_text(encoding="utf-8"), mode=0o400)
    return directory


def revoke_credentials(paths: Paths) -> None:
    """Delete the copies of all services."""
    shutil.rmtree(paths.run / "credentials", ignore_errors=True)


def _create(path: Path, value: str, mode: int = 0o600) -> None:
    """Write a new file; an existing one is left as it is."""
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError:
        return
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(value)

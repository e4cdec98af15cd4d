from __future__ import annotations

import stat
from pathlib import Path

import pytest

from barnabee.core.errors import SettingMissing
from barnabee.up import secrets
from barnabee.up.paths import Paths


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "home")
    paths.make()
    return paths


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_secrets_are_private_and_generated_once(paths: Paths) -> None:
    secrets.ensure_secrets(paths)
    token = secrets.read_secret(paths, "api_token")
    assert token is not None
    assert len(token) >= 32
    assert mode(paths.secrets) == 0o700
    assert {mode(file) for file in paths.secrets.iterdir()} == {0o600}
    secrets.ensure_secrets(paths)
    assert secrets.read_secret(paths, "api_token") == token


def test_a_service_gets_only_its_listed_secrets(paths: Paths) -> None:
    secrets.ensure_secrets(paths)
    directory = secrets.issue_credentials(paths, "gpu", ["api_token", "llm_api_key"])
    assert [file.name for file in directory.iterdir()] == ["api_token"]
    assert mode(directory) == 0o700
    assert mode(directory / "api_token") == 0o400


def test_a_changed_secret_replaces_the_copy_at_the_next_start(paths: Paths) -> None:
    secrets.ensure_secrets(paths)
    secrets.issue_credentials(paths, "api", ["api_token"])
    (paths.secrets / "api_token").write_text("another")
    directory = secrets.issue_credentials(paths, "api", ["api_token"])
    assert (directory / "api_token").read_text() == "another"
    secrets.revoke_credentials(paths)
    assert not directory.exists()


def test_generated_keys_mean_a_local_replica(paths: Paths) -> None:
    secrets.ensure_secrets(paths)
    assert secrets.is_replica_local(paths)


def test_the_users_keys_are_kept_and_mean_a_remote_replica(paths: Paths) -> None:
    (paths.secrets / "b2_key_id").write_text("0051")
    (paths.secrets / "b2_application_key").write_text("K005")
    secrets.ensure_secrets(paths)
    assert secrets.read_secret(paths, "b2_key_id") == "0051"
    assert not secrets.is_replica_local(paths)


def test_keys_added_later_replace_generated_ones(paths: Paths) -> None:
    secrets.ensure_secrets(paths)
    (paths.secrets / "b2_key_id").write_text("0051")
    (paths.secrets / "b2_application_key").write_text("K005")
    assert not secrets.is_replica_local(paths)


def test_a_missing_half_of_the_key_pair_is_named(paths: Paths) -> None:
    (paths.secrets / "b2_key_id").write_text("0051")
    with pytest.raises(SettingMissing, match="secret b2_application_key is not set"):
        secrets.ensure_secrets(paths)

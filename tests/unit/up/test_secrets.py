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


def test_secrets_are_for_their_owner_alone_and_made_once(paths: Paths) -> None:
    secrets.make(paths)
    token = secrets.read(paths, "api_token")
    assert token is not None
    assert len(token) >= 32
    assert mode(paths.secrets) == 0o700
    assert {mode(file) for file in paths.secrets.iterdir()} == {0o600}
    secrets.make(paths)
    assert secrets.read(paths, "api_token") == token


def test_a_service_gets_what_is_listed_for_it_and_nothing_else(paths: Paths) -> None:
    secrets.make(paths)
    directory = secrets.hand_out(paths, "gpu", ["api_token", "azure_openai_key"])
    assert [file.name for file in directory.iterdir()] == ["api_token"]
    assert mode(directory) == 0o700
    assert mode(directory / "api_token") == 0o400


def test_a_changed_secret_replaces_the_copy_at_the_next_start(paths: Paths) -> None:
    secrets.make(paths)
    secrets.hand_out(paths, "api", ["api_token"])
    (paths.secrets / "api_token").write_text("another")
    directory = secrets.hand_out(paths, "api", ["api_token"])
    assert (directory / "api_token").read_text() == "another"
    secrets.take_back(paths)
    assert not directory.exists()


def test_keys_made_here_mean_a_replica_on_this_machine(paths: Paths) -> None:
    secrets.make(paths)
    assert secrets.replica_is_local(paths)


def test_the_users_own_keys_are_left_alone_and_mean_a_replica_elsewhere(paths: Paths) -> None:
    (paths.secrets / "b2_key_id").write_text("0051")
    (paths.secrets / "b2_application_key").write_text("K005")
    secrets.make(paths)
    assert secrets.read(paths, "b2_key_id") == "0051"
    assert not secrets.replica_is_local(paths)


def test_keys_put_in_later_win_over_those_made_here(paths: Paths) -> None:
    secrets.make(paths)
    (paths.secrets / "b2_key_id").write_text("0051")
    (paths.secrets / "b2_application_key").write_text("K005")
    assert not secrets.replica_is_local(paths)


def test_half_a_pair_of_keys_is_named(paths: Paths) -> None:
    (paths.secrets / "b2_key_id").write_text("0051")
    with pytest.raises(SettingMissing, match="secret b2_application_key is not set"):
        secrets.make(paths)

"""`barnabee credentials set`: in a local deployment and on a NixOS host."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from barnabee.backup import store_probe
from barnabee.cli import up
from barnabee.cli.app import app
from barnabee.core import settings as settings_module
from barnabee.core import system as system_module
from barnabee.core.errors import BarnabeeError, Misconfigured
from barnabee.deploy import host_secrets
from barnabee.deploy.host_secrets import HostSecrets
from barnabee.up import run_state, secrets
from barnabee.up.paths import Paths
from support.s3 import S3Server

SYSTEM = system_module.load_system()
KEYS = ("b2_key_id", "b2_application_key")


@pytest.fixture
def s3(tmp_path: Path) -> Iterator[S3Server]:
    server = S3Server(tmp_path / "s3", SYSTEM.replica.bucket)
    server.start()
    yield server
    server.kill()


@pytest.fixture
def paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Paths:
    paths = Paths(tmp_path / "home")
    monkeypatch.setenv("BARNABEE_HOME", str(paths.root))
    paths.make()
    for name in KEYS:
        (paths.secrets / name).write_text("old")
    return paths


@pytest.fixture
def restarted(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Return the services that are restarted; a runner seems to be there."""
    names: list[str] = []
    monkeypatch.setattr(run_state, "find_runner", lambda _paths: object())
    monkeypatch.setattr(up, "restart_services", names.extend)
    return names


def set_credentials(*arguments: str | Path, stdin: str | None = None) -> Result:
    result = CliRunner().invoke(
        app, ["credentials", "set", *map(str, arguments)], input=stdin, catch_exceptions=True
    )
    if isinstance(result.exception, BarnabeeError):
        raise result.exception
    return result


def write_keys(folder: Path, key_id: str, key: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, value in zip(KEYS, (key_id, key), strict=True):
        (folder / name).write_text(f"{value}\n")
    return folder


def read_keys(paths: Paths) -> list[str | None]:
    return [secrets.read_secret(paths, name) for name in KEYS]


def test_new_keys_of_the_bucket_are_tried_and_taken_over(
    paths: Paths,
    s3: S3Server,
    restarted: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("BARNABEE_REPLICA_ENDPOINT", s3.url)
    wrong = write_keys(tmp_path / "wrong", s3.key_id, "wrong")
    result = set_credentials("b2_key_id", "--from", wrong)
    assert result.exit_code != 0
    assert "refuses access" in result.output
    assert read_keys(paths) == ["old", "old"]
    assert restarted == []

    right = write_keys(tmp_path / "right", s3.key_id, s3.application_key)
    assert set_credentials("b2_application_key", "--from", right).exit_code == 0
    assert read_keys(paths) == [s3.key_id, s3.application_key]
    assert restarted == ["litestream", "worker"]


def test_one_key_without_the_other_is_refused(
    paths: Paths, restarted: list[str], tmp_path: Path
) -> None:
    folder = write_keys(tmp_path / "new", "new", "new")
    (folder / "b2_application_key").unlink()
    for result in (
        set_credentials("b2_key_id", "--from", folder),
        set_credentials("b2_key_id", stdin="new"),
    ):
        assert "are replaced together" in result.output
    assert read_keys(paths) == ["old", "old"]
    assert restarted == []


def test_a_single_credential_comes_from_standard_input(paths: Paths, restarted: list[str]) -> None:
    assert set_credentials("home_assistant_token", stdin="a token\n").exit_code == 0
    assert secrets.read_secret(paths, "home_assistant_token") == "a token"
    assert restarted == ["api"]
    assert "it is empty" in set_credentials("home_assistant_token", stdin=" ").output
    assert "There is no credential" in set_credentials("nonsense", stdin="x").output
    assert "token rotate admin" in set_credentials("api_token", stdin="x").output


def test_on_nixos_the_units_with_the_secret_are_restarted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program, log = tmp_path / "systemctl", tmp_path / "log"
    program.write_text(f'#!/bin/sh\necho "$*" >>{log}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    folder = tmp_path / "secrets"
    host = HostSecrets(
        directory=folder,
        files={name: folder / name for name in KEYS},
        units=dict.fromkeys(KEYS, ("barnabee-litestream.service",)),
    )
    monkeypatch.setattr(host_secrets, "read_host_secrets", lambda: host)
    new = write_keys(tmp_path / "new", "id", "key")
    assert set_credentials("b2_key_id", "--from", new).exit_code == 0
    assert [(folder / name).read_text() for name in KEYS] == ["id\n", "key\n"]
    assert log.read_text() == "try-restart barnabee-litestream.service\n"


def test_a_drill_with_other_keys_than_litestream_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_keys(tmp_path / "credentials", "id", "key")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))
    monkeypatch.setenv("BARNABEE_LITESTREAM_SOCKET", str(tmp_path / "litestream.sock"))
    settings = settings_module.read_settings(SYSTEM)
    store_probe.require_same_keys(settings)  # nothing is known about litestream
    store_probe.publish_keys(tmp_path / "litestream.sock")
    store_probe.require_same_keys(settings)
    (folder / "b2_key_id").write_text("another")
    with pytest.raises(Misconfigured, match="other keys of the bucket"):
        store_probe.require_same_keys(settings)

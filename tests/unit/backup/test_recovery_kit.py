from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from barnabee.backup import restic, snapshot_job, snapshots
from barnabee.core import system as system_module
from barnabee.core.errors import BadInput, SettingMissing
from barnabee.core.settings import Settings
from support.backup import with_backup_settings

SYSTEM = system_module.load_system()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    paths = {"BARNABEE_DATA": tmp_path, "DATABASE_PATH": tmp_path / "barnabee.db"}
    return Settings.model_validate(paths)


def define_remote(monkeypatch: pytest.MonkeyPatch, folder: Path, key: str) -> None:
    """Write the credential `rclone_conf`."""
    folder.mkdir(exist_ok=True)
    text = f"# a comment\n\n[nas]\ntype = s3\n  secret_access_key = {key}\n"
    (folder / restic.RCLONE_CREDENTIAL).write_text(text)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(folder))


def test_the_kit_has_address_password_and_commands(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = with_backup_settings(SYSTEM, offsite="nas:barnabee")
    with pytest.raises(SettingMissing, match="rclone_conf"):
        snapshot_job.print_kit(away, settings)
    define_remote(monkeypatch, tmp_path / "credentials", "abc")
    printed = snapshot_job.print_kit(away, settings)
    password = restic.read_password(settings)
    assert password
    assert snapshot_job.parse_password(printed) == password
    assert snapshot_job.parse_password(f" {password}\n") == password
    for text in ("restic -r rclone:nas:barnabee restore latest", "export RCLONE_CONFIG", "sqlite3"):
        assert text in printed
    assert "rclone.conf:\n\n    [nas]\n    type = s3\n    secret_access_key = abc\n\n" in printed
    assert "comment" not in printed
    assert "rclone" not in snapshot_job.print_kit(SYSTEM, settings)
    with pytest.raises(BadInput, match="recovery kit"):
        snapshot_job.parse_password("the wrong paper")


def test_a_changed_address_password_or_remote_asks_to_print_again(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert not snapshot_job.is_printed(snapshots.read_state(settings))
    snapshot_job.print_kit(SYSTEM, settings)
    state = snapshots.read_state(settings)
    assert snapshot_job.is_printed(state)
    password = str(restic.read_password(settings))
    away = with_backup_settings(SYSTEM, offsite="nas:barnabee")
    for system, now in ((away, password), (SYSTEM, "another")):
        digest = snapshot_job.make_digest(system, settings, now)
        assert not snapshot_job.is_printed(replace(state, kit=digest))
    same = snapshot_job.make_digest(SYSTEM, settings, password)
    assert snapshot_job.is_printed(replace(state, kit=same))
    digests = set()
    for key in ("abc", "def"):
        define_remote(monkeypatch, tmp_path / "credentials", key)
        digests.add(snapshot_job.make_digest(away, settings, password))
    assert len(digests) == 2
    assert snapshot_job.make_digest(SYSTEM, settings, password) == same


def test_a_password_is_made_once_and_a_credential_comes_first(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert restic.read_password(settings) is None
    made = restic.make_password(settings)
    assert len(made.replace("-", "")) == 32
    assert restic.make_password(settings) == restic.read_password(settings) == made
    (tmp_path / "credentials").mkdir()
    (tmp_path / "credentials" / restic.PASSWORD).write_text("given")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "credentials"))
    assert restic.make_password(settings) == "given"

from __future__ import annotations

import json
from pathlib import Path

import pytest

from barnabee.backup import litestream
from barnabee.core import settings as settings_module
from barnabee.core import system as system_module
from barnabee.core.errors import DependencyDown, SettingInvalid
from barnabee.core.schema import System
from barnabee.core.settings import Settings


@pytest.fixture
def system() -> System:
    return system_module.load_system()


@pytest.fixture
def settings(system: System, monkeypatch: pytest.MonkeyPatch) -> Settings:
    monkeypatch.setenv("BARNABEE_REPLICA_ENDPOINT", "http://127.0.0.1:9000")
    return settings_module.read_settings(system)


def test_the_configuration_follows_system_toml(system: System, settings: Settings) -> None:
    text = litestream.litestream_config(
        system, settings, Path("/data/barnabee.db"), Path("/run/l.sock")
    )

    found = json.loads(text)
    assert found["addr"] == f"127.0.0.1:{system.port('litestream')}"
    assert found["socket"] == {"enabled": True, "path": "/run/l.sock", "permissions": 0o660}
    assert found["snapshot"] == {"interval": "24h", "retention": "720h"}
    assert found["validation"] == {"interval": "6h"}
    assert found["dbs"][0]["replica"]["endpoint"] == "http://127.0.0.1:9000"
    assert found["dbs"][0]["replica"]["bucket"] == system.replica.bucket
    assert found["dbs"][0]["replica"]["sync-interval"] == "500ms"


def test_the_endpoint_defaults_to_that_of_system_toml(system: System) -> None:
    settings = settings_module.read_settings(system)

    found = json.loads(litestream.litestream_config(system, settings, Path("/d/b.db"), None))
    assert found["dbs"][0]["replica"]["endpoint"] == system.replica.endpoint
    assert "socket" not in found
    assert "addr" not in found


def test_the_configuration_contains_no_secret(system: System, settings: Settings) -> None:
    text = litestream.litestream_config(system, settings, Path("/d/b.db"), Path("/s"))

    assert "key" not in text


def test_the_environment_has_the_key_and_no_other_aws_variable() -> None:
    base = {
        "PATH": "/bin",
        "AWS_CA_BUNDLE": "/x",
        "AWS_PROFILE": "p",
        "LITESTREAM_ACCESS_KEY_ID": "other",
        "CREDENTIALS_DIRECTORY": "/c",
    }

    assert litestream.make_environment(base, "id", "secret") == {
        "PATH": "/bin",
        "AWS_ACCESS_KEY_ID": "id",
        "AWS_SECRET_ACCESS_KEY": "secret",
    }


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BARNABEE_LITESTREAM", "/nowhere/litestream")

    with pytest.raises(SettingInvalid, match="BARNABEE_LITESTREAM"):
        litestream.find_program()


async def test_a_missing_socket_raises_dependency_down(tmp_path: Path) -> None:
    with pytest.raises(DependencyDown, match="litestream does not answer"):
        await litestream.measure_lag(tmp_path / "no.sock", Path("/d/b.db"))


def test_lag_counts_the_missing_transactions() -> None:
    assert litestream.ReplicationLag(local_txid=7, replica_txid=5).transactions == 2

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from barnabee.core import system
from barnabee.core.errors import Misconfigured
from barnabee.up import node_commands, secrets
from barnabee.up.node_commands import House
from barnabee.up.paths import Paths

USER = {
    "PATH": "/usr/bin",
    "AWS_CA_BUNDLE": "/etc/ssl/certs/ca.crt",
    "AWS_SECRET_ACCESS_KEY": "private",
    "HTTPS_PROXY": "http://proxy",
    "PYTHONSTARTUP": "/home/me/start.py",
    "AZURE_OPENAI_ENDPOINT": "https://x.openai.azure.com",
    "BARNABEE_THREADS": "1",
    "DATABASE_PATH": "/elsewhere/other.db",
}


@pytest.fixture
def paths(tmp_path: Path) -> Paths:
    paths = Paths(tmp_path / "home")
    paths.make()
    secrets.make(paths)
    return paths


def house(paths: Paths, *, demo: bool = False, environment: Mapping[str, str] = USER) -> House:
    file = system.default_path()
    home = Path("/venv") if demo else None
    return House(system.load(file), file, paths, Path("/models"), environment, home)


def test_a_service_sees_what_is_on_the_list_and_nothing_more(paths: Paths) -> None:
    found = node_commands.environment_for(house(paths), "api")
    assert found["PATH"] == "/usr/bin"
    assert found["AZURE_OPENAI_ENDPOINT"] == "https://x.openai.azure.com"
    assert found["BARNABEE_THREADS"] == "1"
    assert found["DATABASE_PATH"] == str(paths.database)
    assert found.keys().isdisjoint(
        {"AWS_CA_BUNDLE", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "PYTHONSTARTUP"}
    )


def test_no_secret_is_in_the_environment_or_the_command_line_of_a_service(paths: Paths) -> None:
    values = [file.read_text() for file in paths.secrets.iterdir()]
    for name in house(paths).graph().nodes:
        command = node_commands.command_for(name, house(paths))
        told = [*node_commands.environment_for(house(paths), name).values(), *command.argv]
        assert not [value for value in values if value in " ".join(told)], name


def test_only_the_s3_server_gets_the_keys_of_the_replica_in_its_environment(paths: Paths) -> None:
    key = secrets.read(paths, secrets.KEY) or ""
    holders = {
        name
        for name in house(paths).graph().nodes
        if key in " ".join(node_commands.command_for(name, house(paths)).environment.values())
    }
    assert holders == {"s3"}  # litestream takes them out of its credentials when it begins


def test_every_node_of_the_graph_can_be_started(paths: Paths) -> None:
    full = house(paths, demo=True)
    for name in full.system.nodes():
        assert node_commands.command_for(name, full).argv


def test_a_node_that_nobody_can_start_is_named(paths: Paths) -> None:
    with pytest.raises(Misconfigured, match="does not know how to start 'cellar'"):
        node_commands.command_for("cellar", house(paths))


def test_the_s3_companion_runs_only_while_the_keys_were_made_here(paths: Paths) -> None:
    assert "s3" in house(paths).graph().nodes
    local = node_commands.environment_for(house(paths), "litestream")
    assert local["BARNABEE_REPLICA_ENDPOINT"] == "http://127.0.0.1:9000"
    (paths.secrets / "b2_key_id").write_text("0051")
    assert "s3" not in house(paths).graph().nodes
    remote = node_commands.environment_for(house(paths), "litestream")
    assert "BARNABEE_REPLICA_ENDPOINT" not in remote


def test_the_demo_home_is_there_only_when_asked_for(paths: Paths) -> None:
    assert "home" not in house(paths).graph().nodes
    demo = house(paths, demo=True)
    assert "home" in demo.graph().nodes
    url = node_commands.environment_for(demo, "api")["HOME_ASSISTANT_URL"]
    assert url == "http://127.0.0.1:8123"


def test_the_api_waits_for_the_demo_home_at_its_first_start_only(paths: Paths) -> None:
    demo = house(paths, demo=True)
    assert demo.graph().after == {"api": frozenset({"home"})}
    (paths.data / "home").mkdir()
    (paths.secrets / node_commands.DEMO_TOKEN).write_text("token")
    assert demo.graph().after == {}


def test_the_demo_home_never_takes_the_place_of_the_users_token(paths: Paths) -> None:
    (paths.secrets / "home_assistant_token").write_text("the user's")
    (paths.secrets / node_commands.DEMO_TOKEN).write_text("the demo's")
    for demo, expected in ((False, "the user's"), (True, "the demo's")):
        found = node_commands.environment_for(house(paths, demo=demo), "api")
        token = Path(found["CREDENTIALS_DIRECTORY"]) / "home_assistant_token"
        assert token.read_text() == expected
    assert secrets.read(paths, "home_assistant_token") == "the user's"


def test_our_own_services_say_with_2_that_starting_again_cannot_help(paths: Paths) -> None:
    command = node_commands.command_for("gpu", house(paths))
    assert command.argv == (sys.executable, "-m", "barnabee.gpu")
    assert command.final_statuses == {2}
    assert node_commands.command_for("redis", house(paths)).final_statuses == frozenset()


def test_what_valkey_has_written_stays_with_valkey(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = {"valkey-server": "/usr/bin/valkey-server"}
    monkeypatch.setattr(node_commands.shutil, "which", machine.get)
    assert node_commands.redis_program(tmp_path) == "/usr/bin/valkey-server"
    machine["redis-server"] = "/usr/bin/redis-server"
    assert node_commands.redis_program(tmp_path) == "/usr/bin/valkey-server"
    (tmp_path / "new").mkdir()
    assert node_commands.redis_program(tmp_path / "new") == "/usr/bin/redis-server"


def test_redis_keeps_an_append_only_file_and_refuses_to_forget_jobs(paths: Paths) -> None:
    line = " ".join(node_commands.command_for("redis", house(paths)).argv)
    for option in (
        "--appendonly yes",
        "--maxmemory 512mb",
        "--maxmemory-policy noeviction",
        "--bind 127.0.0.1",
        f"--dir {paths.data / 'redis'}",
    ):
        assert option in line

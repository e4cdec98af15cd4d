from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from barnabee.core import system
from barnabee.core.errors import Misconfigured, SetupFailed
from barnabee.up import deployment, model_pins, node_commands, secrets
from barnabee.up.deployment import LocalDeployment
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
    secrets.ensure_secrets(paths)
    return paths


def make_deployment(
    paths: Paths, *, demo: bool = False, environment: Mapping[str, str] = USER
) -> LocalDeployment:
    file = system.find_system_file()
    home = Path("/venv") if demo else None
    return LocalDeployment(
        system.load_system(file), file, paths, Path("/models"), environment, home
    )


def test_a_service_gets_only_listed_variables(paths: Paths) -> None:
    environment = deployment.make_node_environment(make_deployment(paths), "api")
    assert environment["PATH"] == "/usr/bin"
    assert environment["AZURE_OPENAI_ENDPOINT"] == "https://x.openai.azure.com"
    assert environment["BARNABEE_THREADS"] == "1"
    assert environment["DATABASE_PATH"] == str(paths.database)
    assert environment.keys().isdisjoint(
        {"AWS_CA_BUNDLE", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "PYTHONSTARTUP"}
    )


def test_inference_uses_the_gpu_of_the_system_file_or_of_the_user(paths: Paths) -> None:
    uuid = "GPU-0fa1b2c3-0000-1111-2222-333344445555"
    for given, visible in (({}, "0"), ({"CUDA_VISIBLE_DEVICES": uuid}, uuid)):
        user = USER | {"BARNABEE_DEVICE": "cuda"} | given
        made = make_deployment(paths, environment=user)
        environment = deployment.make_node_environment(made, "gpu")
        assert environment["CUDA_VISIBLE_DEVICES"] == visible
        assert environment["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID"
    without = deployment.make_node_environment(make_deployment(paths), "gpu")
    assert "CUDA_DEVICE_ORDER" not in without


def test_no_secret_is_in_environment_or_command_line(paths: Paths) -> None:
    values = [text for file in paths.secrets.iterdir() if (text := file.read_text())]
    for name in make_deployment(paths).make_graph().nodes:
        command = node_commands.make_command(name, make_deployment(paths))
        visible = [
            *deployment.make_node_environment(make_deployment(paths), name).values(),
            *command.argv,
        ]
        assert not [value for value in values if value in " ".join(visible)], name


def test_only_the_s3_server_has_replica_keys_in_its_environment(paths: Paths) -> None:
    key = secrets.read_secret(paths, secrets.B2_KEY) or ""
    holders = {
        name
        for name in make_deployment(paths).make_graph().nodes
        if key
        in " ".join(node_commands.make_command(name, make_deployment(paths)).environment.values())
    }
    assert holders == {"s3"}  # litestream reads them from its credentials


def test_every_node_of_the_graph_can_be_started(paths: Paths) -> None:
    full = make_deployment(paths, demo=True)
    for name in full.system.nodes():
        assert node_commands.make_command(name, full).argv


def test_a_node_without_a_command_is_named(paths: Paths) -> None:
    with pytest.raises(Misconfigured, match="does not know how to start 'cellar'"):
        node_commands.make_command("cellar", make_deployment(paths))


def test_the_s3_companion_runs_only_with_generated_keys(paths: Paths) -> None:
    assert "s3" in make_deployment(paths).make_graph().nodes
    local = deployment.make_node_environment(make_deployment(paths), "litestream")
    assert local["BARNABEE_REPLICA_ENDPOINT"] == "http://127.0.0.1:9000"
    (paths.secrets / "b2_key_id").write_text("0051")
    assert "s3" not in make_deployment(paths).make_graph().nodes
    remote = deployment.make_node_environment(make_deployment(paths), "litestream")
    assert "BARNABEE_REPLICA_ENDPOINT" not in remote


def test_the_demo_home_runs_only_with_the_option(paths: Paths) -> None:
    assert "home" not in make_deployment(paths).make_graph().nodes
    demo = make_deployment(paths, demo=True)
    assert "home" in demo.make_graph().nodes
    url = deployment.make_node_environment(demo, "api")["HOME_ASSISTANT_URL"]
    assert url == "http://127.0.0.1:8123"


def test_the_gpu_service_has_the_language_model_only_with_the_option(paths: Paths) -> None:
    plain = make_deployment(paths)
    assert "LLM_PROVIDER" not in deployment.make_node_environment(plain, "api")
    with_model = replace(plain, llm=True)
    assert deployment.make_node_environment(with_model, "api")["LLM_PROVIDER"] == "gpu"
    environment = deployment.make_node_environment(with_model, "gpu")
    assert environment["BARNABEE_LLAMA_SERVER"] == "/models/llama-server/llama-server"


def test_the_system_file_with_the_small_language_model_is_a_copy(tmp_path: Path) -> None:
    file = system.find_system_file()
    copy = model_pins.write_system_file(file, tmp_path / "home")
    models = dict(system.load_system(copy).model)
    small = models.pop("llm")
    assert models == system.load_system(file).model
    assert (small.cpu_files, small.preload) == ("smollm2-135m", False)
    assert model_pins.write_system_file(copy, tmp_path / "other") == copy


def test_the_small_language_model_needs_a_processor_with_a_server(tmp_path: Path) -> None:
    cpuinfo = tmp_path / "cpuinfo"
    cpuinfo.write_text("flags\t\t: fpu avx2 fma\n", encoding="utf-8")
    model_pins.require_processor("x86_64", cpuinfo)
    with pytest.raises(SetupFailed, match="LLM_URL"):
        model_pins.require_processor("aarch64", cpuinfo)
    cpuinfo.write_text("flags\t\t: fpu avx\n", encoding="utf-8")
    with pytest.raises(SetupFailed, match="x86_64 without AVX2"):
        model_pins.require_processor("x86_64", cpuinfo)


def test_the_api_waits_for_the_first_start_of_the_demo_home(paths: Paths) -> None:
    demo = make_deployment(paths, demo=True)
    assert demo.make_graph().after == {"api": frozenset({"home"})}
    (paths.data / "home").mkdir()
    (paths.secrets / deployment.DEMO_TOKEN).write_text("token")
    assert demo.make_graph().after == {}


def test_the_demo_token_never_replaces_the_users_token(paths: Paths) -> None:
    (paths.secrets / "home_assistant_token").write_text("the user's")
    (paths.secrets / deployment.DEMO_TOKEN).write_text("the demo's")
    for demo, expected in ((False, "the user's"), (True, "the demo's")):
        environment = deployment.make_node_environment(make_deployment(paths, demo=demo), "api")
        token = Path(environment["CREDENTIALS_DIRECTORY"]) / "home_assistant_token"
        assert token.read_text() == expected
    assert secrets.read_secret(paths, "home_assistant_token") == "the user's"


def test_exit_status_2_of_our_services_is_final(paths: Paths) -> None:
    command = node_commands.make_command("gpu", make_deployment(paths))
    assert command.argv == (sys.executable, "-m", "barnabee.gpu")
    assert command.final_statuses == {2}
    assert node_commands.make_command("s3", make_deployment(paths)).final_statuses == frozenset()


def test_a_directory_written_by_valkey_keeps_using_valkey(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = {"valkey-server": "/usr/bin/valkey-server"}
    monkeypatch.setattr(node_commands.shutil, "which", machine.get)
    assert node_commands.find_redis_program(tmp_path) == "/usr/bin/valkey-server"
    machine["redis-server"] = "/usr/bin/redis-server"
    assert node_commands.find_redis_program(tmp_path) == "/usr/bin/valkey-server"
    (tmp_path / "new").mkdir()
    assert node_commands.find_redis_program(tmp_path / "new") == "/usr/bin/redis-server"


def test_redis_uses_an_append_only_file_without_eviction(paths: Paths) -> None:
    line = " ".join(node_commands.make_command("redis", make_deployment(paths)).argv)
    for option in (
        "--appendonly yes",
        "--maxmemory 512mb",
        "--maxmemory-policy noeviction",
        "--bind 127.0.0.1",
        f"--dir {paths.data / 'redis'}",
    ):
        assert option in line

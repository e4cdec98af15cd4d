"""The Compose file: derived from the graph, valid by the specification, and valid YAML."""

from __future__ import annotations

import copy
import json
import subprocess
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.cli.system_file import to_yaml
from barnabee.core import system
from barnabee.core.settings import Settings
from barnabee.up import compose
from barnabee.up.compose import ComposeOptions
from support.programs import needs_program

ROOT = Path(__file__).resolve().parents[3]
GRAPH = system.load_system(ROOT / "system.toml")
FILE = compose.make_compose_file(GRAPH, ComposeOptions("1.2.3"))
SERVICES: dict[str, Any] = FILE["services"]
TOKENS = {"api_token", "talk_token", "infer_token", "metrics_token"}
OURS = [name for name, node in GRAPH.service.items() if node.probe != "redis"]


def changed(service: str, **values: object) -> system.System:
    node = GRAPH.service[service].model_copy(update=values)
    return GRAPH.model_copy(update={"service": {**GRAPH.service, service: node}})


def test_has_every_service_and_the_proxy_and_no_companion() -> None:
    assert set(SERVICES) == {*GRAPH.service, "proxy", "tokens"}
    assert {one["container_name"] for one in SERVICES.values()} == {
        f"barnabee-{name}" for name in SERVICES
    }


def test_only_the_proxy_and_webrtc_media_face_the_home_network() -> None:
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert published == {
        "api": ["127.0.0.1:8000:8000"],
        "gpu": ["127.0.0.1:8001:8001"],
        "voice": ["127.0.0.1:8080:8080", "10000-10100:10000-10100/udp"],
        "wyoming": ["127.0.0.1:10300:10300"],
        "proxy": ["80:80", "443:443"],
    }


def test_services_trust_the_address_that_the_proxy_alone_can_have() -> None:
    address = SERVICES["proxy"]["networks"]["internal"]["ipv4_address"]
    assert {SERVICES[name]["environment"]["BARNABEE_TRUSTED_PROXIES"] for name in OURS} == {address}
    pool = FILE["networks"]["internal"]["ipam"]["config"][0]
    assert ip_address(address) in ip_network(pool["subnet"])
    assert ip_address(address) not in ip_network(pool["ip_range"])


def test_a_changed_port_is_used_in_ports_and_urls() -> None:
    found = compose.make_compose_file(changed("api", port=8765), ComposeOptions("1"))["services"]
    assert found["api"]["ports"] == ["127.0.0.1:8765:8765"]
    assert {found[name]["environment"]["API_URL"] for name in OURS} == {"http://api:8765"}


def test_limits_health_and_restart_follow_the_graph() -> None:
    for name, node in GRAPH.service.items():
        found = SERVICES[name]
        assert found["deploy"]["resources"]["limits"]["memory"] == f"{node.memory_max_mib}M"
        assert found["restart"] == ("on-failure" if node.kind == "oneshot" else "unless-stopped")
        assert found["stop_grace_period"] == f"{node.stop_timeout_s}s"
        if node.kind == "daemon":
            assert found["healthcheck"]["start_period"] == f"{node.startup_budget_s}s"
            assert found["healthcheck"]["interval"] == "30s"
    never = compose.make_compose_file(changed("worker", restart="never"), ComposeOptions("1"))
    assert never["services"]["worker"]["restart"] == "no"


def test_needs_wait_for_health_and_wants_are_optional() -> None:
    assert SERVICES["worker"]["depends_on"] == {
        "redis": {"condition": "service_healthy"},
        "restore": {"condition": "service_completed_successfully"},
        "tokens": {"condition": "service_completed_successfully"},
        "gpu": {"condition": "service_healthy", "required": False},
        "litestream": {"condition": "service_healthy", "required": False},
    }
    for name, node in GRAPH.service.items():
        for need in node.needs:
            assert "required" not in SERVICES[name]["depends_on"][need]


def test_dependencies_have_no_cycle() -> None:
    waiting = {name: set(one.get("depends_on", {})) for name, one in SERVICES.items()}
    while waiting:
        free = {name for name, others in waiting.items() if not others & waiting.keys()}
        assert free, waiting
        waiting = {name: others for name, others in waiting.items() if name not in free}


def test_each_service_gets_only_its_secrets_as_files() -> None:
    for name, node in GRAPH.service.items():
        others = [one for one in node.credentials if one not in TOKENS]
        assert SERVICES[name].get("secrets", []) == others
        mounts = [one for one in SERVICES[name].get("volumes", []) if "barnabee-tokens" in one]
        own = f"./secrets/tokens/{name}:/run/barnabee-tokens:ro"
        assert mounts == ([own] if node.module else [])
        written = {one for one in SERVICES["tokens"]["command"] if one.startswith(f"{name}/")}
        expected = {f"{name}/{one}" for one in ["tokens.json", *node.credentials]}
        assert written == (expected - {f"{name}/{one}" for one in others} if mounts else set())
    assert SERVICES["proxy"]["secrets"] == ["tls_certificate", "tls_key"]
    used = {name for one in SERVICES.values() for name in one.get("secrets", [])}
    assert FILE["secrets"] == {name: {"file": f"./secrets/{name}"} for name in sorted(used)}
    for one in SERVICES.values():
        assert not [key for key in one.get("environment", {}) if key.endswith(("_KEY", "_TOKEN"))]


def test_volumes_are_declared_and_the_database_is_shared() -> None:
    mounted = {
        volume.partition(":")[0]
        for one in SERVICES.values()
        for volume in one.get("volumes", [])
        if not volume.startswith(".")
    }
    assert mounted == set(FILE["volumes"])
    data = FILE["volumes"]["barnabee-data"]["driver_opts"]
    assert data == {"type": "none", "o": "bind", "device": "/mnt/barnabee/data"}
    writers = [name for name in OURS if "barnabee-data:/data" in SERVICES[name]["volumes"]]
    assert sorted(writers) == ["api", "litestream", "restore", "worker"]


def test_the_gpu_is_reserved_for_the_gpu_service_only() -> None:
    reserved = [name for name, one in SERVICES.items() if "reservations" in json.dumps(one)]
    assert reserved == ["gpu"]
    without = compose.make_compose_file(GRAPH, ComposeOptions("1.2.3", has_gpu=False))["services"][
        "gpu"
    ]
    assert without["image"] == "barnabee-gpu-cpu:1.2.3"
    assert "reservations" not in without["deploy"]["resources"]


@pytest.mark.parametrize("device", ["1", "MIG-0fa1b2c3-0000-1111-2222-333344445555"])
def test_the_gpu_service_gets_the_gpu_or_slice_of_the_system_file(device: str) -> None:
    gpu = GRAPH.gpu.model_copy(update={"device": device})
    file = compose.make_compose_file(GRAPH.model_copy(update={"gpu": gpu}), ComposeOptions("1.2.3"))
    service = file["services"]["gpu"]
    (reserved,) = service["deploy"]["resources"]["reservations"]["devices"]
    assert reserved["device_ids"] == [device]
    # A container that has one GPU sees it as number 0.
    visible = service["environment"].get("CUDA_VISIBLE_DEVICES")
    assert visible == (None if device == "1" else device)


def test_environment_gives_valid_settings_with_defaults(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in SERVICES["api"]["environment"].items():
        default = text.partition(":-")[2].removesuffix("}") if text.startswith("${") else text
        monkeypatch.setenv(name, default)
    settings = Settings()
    assert settings.redis_url == "redis://redis:6379/0"
    assert str(settings.database_path) == "/data/barnabee.db"
    changed_fields = {
        "bind",
        "data_dir",
        "database_path",
        "api_url",
        "gpu_service_url",
        "redis_url",
    }
    changed_fields |= {
        "voice_url",
        "worker_url",
        "litestream_url",
        "litestream_socket",
        "models_dir",
        "device",
        "fillers_dir",
        "trusted_proxies",
        "wyoming_bind",
    }
    for field, about in Settings.model_fields.items():
        if field not in changed_fields:
            assert getattr(settings, field) == about.default, field


def test_no_service_url_points_to_loopback() -> None:
    for name, text in SERVICES["api"]["environment"].items():
        for node in GRAPH.service.values():
            assert f"127.0.0.1:{node.port}" not in text, name


def test_redis_gets_the_options_of_the_local_runner() -> None:
    command = SERVICES["redis"]["command"]
    assert command[:4] == ["python", "-m", "barnabee.up.redis_server", "valkey-server"]
    options = dict(zip(command[4::2], command[5::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory"] == "512mb"
    assert options["--maxmemory-policy"] == "noeviction"


def test_a_container_gets_only_its_own_password_for_redis() -> None:
    found = {
        name: {secret for secret in item.get("secrets", ()) if secret.startswith("redis_")}
        for name, item in SERVICES.items()
    }
    assert {name: secrets for name, secrets in found.items() if secrets} == {
        "redis": {"redis_api_password", "redis_worker_password"},
        "api": {"redis_api_password"},
        "worker": {"redis_worker_password"},
    }


def test_is_valid_by_the_schema_of_the_specification() -> None:
    schema = json.loads((ROOT / "tests/data/compose-spec.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft7Validator(schema)
    assert [error.message for error in validator.iter_errors(FILE)] == []
    wrong = copy.deepcopy(FILE)
    wrong["services"]["api"]["healthcheck"]["retry"] = 3
    assert [error.message for error in validator.iter_errors(wrong)]


@needs_program("docker-compose", "docker-compose")
def test_docker_compose_accepts_it(tmp_path: Path) -> None:
    """Without the keys that Debian's version 1.29 does not support."""
    known = copy.deepcopy({key: value for key, value in FILE.items() if key != "name"})
    for one in known["services"].values():
        one.get("healthcheck", {}).pop("start_interval", None)
        for wait in one.get("depends_on", {}).values():
            wait.pop("required", None)
            wait.pop("restart", None)
    file = tmp_path / "compose.yaml"
    file.write_text(to_yaml(known), encoding="utf-8")
    command = ["docker-compose", "--file", str(file), "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    read = yaml.safe_load(done.stdout)["services"]
    assert read.keys() == SERVICES.keys()
    assert len(read["voice"]["ports"]) == 102
    assert read["api"]["environment"]["BARNABEE_LOG_LEVEL"] == "info"


def test_yaml_reads_back_as_the_same_data() -> None:
    assert yaml.safe_load(to_yaml(FILE)) == FILE


def is_not_list(value: object) -> bool:
    return not isinstance(value, list)


printable = st.characters(exclude_categories=("C", "Zl", "Zp", "Zs"), include_characters=" ")
words = st.text(printable) | st.sampled_from(
    ["", "no", "8080", "1e3", "- a", "a: b", "#", "~", "0x1", "="]
)
keys = st.text(printable, min_size=1)
plain = st.recursive(
    words | st.integers() | st.booleans(),
    lambda inner: st.dictionaries(keys, inner) | st.lists(inner.filter(is_not_list)),
    max_leaves=12,
)


@given(st.dictionaries(keys, plain, min_size=1))
def test_any_plain_data_reads_back_from_yaml(value: dict[str, Any]) -> None:
    assert yaml.safe_load(to_yaml(value)) == value


def test_command_mounts_system_toml_relative_to_the_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = tmp_path / "system.toml"
    graph.write_bytes((ROOT / "system.toml").read_bytes())
    monkeypatch.setenv("BARNABEE_SYSTEM", str(graph))
    done = CliRunner().invoke(app, ["compose", "--output", str(tmp_path / "compose.yaml")])
    assert done.exit_code == 0, done.output
    found = yaml.safe_load((tmp_path / "compose.yaml").read_text(encoding="utf-8"))
    assert "./system.toml:/etc/barnabee/system.toml:ro" in found["services"]["api"]["volumes"]
    shown = CliRunner().invoke(app, ["compose", "--cpu", "--secrets", "/run/keys"])
    found = yaml.safe_load(shown.stdout)
    assert f"{graph}:/etc/barnabee/system.toml:ro" in found["services"]["api"]["volumes"]
    assert found["secrets"]["b2_key_id"] == {"file": "/run/keys/b2_key_id"}


def test_a_relative_data_directory_is_rejected() -> None:
    done = CliRunner().invoke(app, ["compose", "--data", "data"])
    assert done.exit_code == 2
    assert "--data" in done.output
    assert "absolute path" in done.output

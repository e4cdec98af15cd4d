"""The Compose file says what the graph says, keeps to the Compose specification, and reads back."""

from __future__ import annotations

import copy
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.core import system
from barnabee.core.settings import Settings
from barnabee.up import compose
from barnabee.up.compose import Place

ROOT = Path(__file__).resolve().parents[3]
GRAPH = system.load(ROOT / "system.toml")
FILE = compose.compose(GRAPH, Place("1.2.3"))
SERVICES: dict[str, Any] = FILE["services"]
OURS = [name for name, node in GRAPH.service.items() if node.probe != "redis"]


def changed(service: str, **values: object) -> system.System:
    node = GRAPH.service[service].model_copy(update=values)
    return GRAPH.model_copy(update={"service": {**GRAPH.service, service: node}})


def test_every_service_of_the_graph_and_the_proxy_is_there_and_no_companion() -> None:
    assert set(SERVICES) == {*GRAPH.service, "proxy"}
    assert {one["container_name"] for one in SERVICES.values()} == {
        f"barnabee-{name}" for name in SERVICES
    }


def test_the_ports_are_those_of_the_specification_and_the_machine_s_own_are_its_own() -> None:
    published = {name: one["ports"] for name, one in SERVICES.items() if "ports" in one}
    assert published == {
        "api": ["127.0.0.1:8000:8000"],
        "gpu": ["127.0.0.1:8001:8001"],
        "voice": ["8080:8080", "10000-10100:10000-10100/udp"],
        "proxy": ["80:80", "443:443"],
    }


def test_a_port_that_is_changed_in_the_graph_is_changed_wherever_it_stands() -> None:
    found = compose.compose(changed("api", port=8765), Place("1"))["services"]
    assert found["api"]["ports"] == ["127.0.0.1:8765:8765"]
    assert {found[name]["environment"]["API_URL"] for name in OURS} == {"http://api:8765"}


def test_limits_health_and_restart_follow_from_the_graph() -> None:
    for name, node in GRAPH.service.items():
        found = SERVICES[name]
        assert found["deploy"]["resources"]["limits"]["memory"] == f"{node.memory_max_mib}M"
        assert found["restart"] == ("on-failure" if node.kind == "oneshot" else "unless-stopped")
        assert found["stop_grace_period"] == f"{node.stop_timeout_s}s"
        if node.kind == "daemon":
            assert found["healthcheck"]["start_period"] == f"{node.startup_budget_s}s"
            assert found["healthcheck"]["interval"] == "30s"
    never = compose.compose(changed("worker", restart="never"), Place("1"))
    assert never["services"]["worker"]["restart"] == "no"


def test_who_needs_waits_for_health_and_who_wants_goes_on_without() -> None:
    assert SERVICES["worker"]["depends_on"] == {
        "redis": {"condition": "service_healthy"},
        "restore": {"condition": "service_completed_successfully"},
        "gpu": {"condition": "service_healthy", "required": False},
        "litestream": {"condition": "service_healthy", "required": False},
    }
    for name, node in GRAPH.service.items():
        for need in node.needs:
            assert "required" not in SERVICES[name]["depends_on"][need]


def test_nobody_waits_in_a_circle() -> None:
    waiting = {name: set(one.get("depends_on", {})) for name, one in SERVICES.items()}
    while waiting:
        free = {name for name, others in waiting.items() if not others & waiting.keys()}
        assert free, waiting
        waiting = {name: others for name, others in waiting.items() if name not in free}


def test_secrets_are_files_and_each_service_has_its_own_alone() -> None:
    for name, node in GRAPH.service.items():
        assert SERVICES[name].get("secrets", []) == node.credentials
    assert SERVICES["proxy"]["secrets"] == ["tls_certificate", "tls_key"]
    used = {name for one in SERVICES.values() for name in one.get("secrets", [])}
    assert FILE["secrets"] == {name: {"file": f"./secrets/{name}"} for name in sorted(used)}
    for one in SERVICES.values():
        assert not [key for key in one.get("environment", {}) if key.endswith(("_KEY", "_TOKEN"))]


def test_volumes_are_declared_and_one_database_is_shared() -> None:
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


def test_the_card_is_reserved_for_gpu_alone_and_left_out_without_one() -> None:
    reserved = [name for name, one in SERVICES.items() if "reservations" in json.dumps(one)]
    assert reserved == ["gpu"]
    without = compose.compose(GRAPH, Place("1.2.3", card=False))["services"]["gpu"]
    assert without["image"] == "barnabee-gpu-cpu:1.2.3"
    assert "reservations" not in without["deploy"]["resources"]


def test_services_understand_what_they_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in SERVICES["api"]["environment"].items():
        default = text.partition(":-")[2].removesuffix("}") if text.startswith("${") else text
        monkeypatch.setenv(name, default)
    told = Settings()
    assert told.redis_url == "redis://redis:6379/0"
    assert str(told.database_path) == "/data/barnabee.db"
    left = {"bind", "data_dir", "database_path", "api_url", "gpu_service_url", "redis_url"}
    left |= {
        "voice_url",
        "worker_url",
        "litestream_url",
        "litestream_socket",
        "models_dir",
        "device",
        "fillers_dir",
    }
    for field, about in Settings.model_fields.items():
        if field not in left:
            assert getattr(told, field) == about.default, field


def test_nobody_looks_for_another_service_in_its_own_container() -> None:
    for name, text in SERVICES["api"]["environment"].items():
        for node in GRAPH.service.values():
            assert f"127.0.0.1:{node.port}" not in text, name


def test_redis_is_told_what_the_local_runner_tells_it() -> None:
    command = SERVICES["redis"]["command"]
    told = dict(zip(command[1::2], command[2::2], strict=True))
    assert told["--appendonly"] == "yes"
    assert told["--maxmemory"] == "512mb"
    assert told["--maxmemory-policy"] == "noeviction"


def test_it_is_valid_by_the_schema_of_the_compose_specification() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="there is no jsonschema here")
    schema = json.loads((ROOT / "tests/data/compose-spec.json").read_text(encoding="utf-8"))
    validator = jsonschema.Draft7Validator(schema)
    assert [error.message for error in validator.iter_errors(FILE)] == []
    wrong = copy.deepcopy(FILE)
    wrong["services"]["api"]["healthcheck"]["retry"] = 3
    assert [error.message for error in validator.iter_errors(wrong)]


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="there is no docker-compose")
def test_docker_compose_reads_it(tmp_path: Path) -> None:
    """Debian's 1.29 does not know what came later: those keys are left out for it."""
    known = copy.deepcopy({key: value for key, value in FILE.items() if key != "name"})
    for one in known["services"].values():
        one.get("healthcheck", {}).pop("start_interval", None)
        for wait in one.get("depends_on", {}).values():
            wait.pop("required", None)
            wait.pop("restart", None)
    file = tmp_path / "compose.yaml"
    file.write_text(compose.to_yaml(known), encoding="utf-8")
    command = ["docker-compose", "--file", str(file), "config"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    read = yaml.safe_load(done.stdout)["services"]
    assert read.keys() == SERVICES.keys()
    assert len(read["voice"]["ports"]) == 102
    assert read["api"]["environment"]["BARNABEE_LOG_LEVEL"] == "info"


def test_as_text_it_is_the_same() -> None:
    assert yaml.safe_load(compose.to_yaml(FILE)) == FILE


def no_list(value: object) -> bool:
    return not isinstance(value, list)


printable = st.characters(exclude_categories=("C", "Zl", "Zp", "Zs"), include_characters=" ")
words = st.text(printable) | st.sampled_from(
    ["", "no", "8080", "1e3", "- a", "a: b", "#", "~", "0x1", "="]
)
keys = st.text(printable, min_size=1)
plain = st.recursive(
    words | st.integers() | st.booleans(),
    lambda inner: st.dictionaries(keys, inner) | st.lists(inner.filter(no_list)),
    max_leaves=12,
)


@given(st.dictionaries(keys, plain, min_size=1))
def test_whatever_is_written_is_read_back(value: dict[str, Any]) -> None:
    assert yaml.safe_load(compose.to_yaml(value)) == value


def test_the_command_writes_the_file_and_names_system_toml_beside_it(
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
    assert found["secrets"]["api_token"] == {"file": "/run/keys/api_token"}


def test_a_relative_data_directory_is_refused_in_a_sentence() -> None:
    done = CliRunner().invoke(app, ["compose", "--data", "data"])
    assert done.exit_code == 2
    assert "--data" in done.output
    assert "absolute path" in done.output

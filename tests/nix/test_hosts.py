"""Hosts: each evaluates with the real NixOS modules; units, firewall and files are as intended."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest

from barnabee.core import system, tokens
from barnabee.core.schema import System
from barnabee.up.redis_server import make_redis_options
from support.nix import ROOT, evaluate, needs_nixpkgs, report
from support.programs import needs_program

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
GRAPH = system.load_system(ROOT / "system.toml")
# Credentials of restores and drills only with off-site snapshots.
OFFSITE_ONLY = {"snapshot_key", "rclone_conf"}
LLM_KEYS = {"llm_api_key", "azure_openai_key"}  # needed only with a language model
TOKENS = {scope.credential for scope in tokens.DERIVED}  # files of barnabee-tokens.service
HOSTS = sorted(GRAPH.host)
GATE = "barnabee-boot-gate.service"
EXPOSURE_MAX = 2.0  # of 10; docs/reference/measurements.md has the figures
WITHOUT_STANDBY = "{ barnabee.standby.enable = false; }"


@pytest.mark.parametrize("host", HOSTS)
def test_host_evaluates_without_failed_assertions_or_warnings(host: str) -> None:
    found = report(host)
    assert found["failed"] == []
    assert found["warnings"] == []
    assert re.fullmatch(r"/nix/store/\S+\.drv", found["toplevel"])


def test_every_service_has_a_unit_on_the_hosts_of_its_role() -> None:
    for name, node in GRAPH.service.items():
        hosts = [host for host, machine in GRAPH.host.items() if node.role in machine.roles]
        assert hosts, name
        for host in hosts:
            assert f"barnabee-{name}" in report(host)["services"]


@pytest.mark.parametrize("host", ["barnabee-core", "barnabee-gpu"])
def test_no_service_stays_down(host: str) -> None:
    units = report(host)["units"]
    local = [name for name in GRAPH.service if f"barnabee-{name}.service" in units]
    for name in local:
        policy = "on-failure" if GRAPH.service[name].kind == "oneshot" else "always"
        assert f"Restart={policy}" in units[f"barnabee-{name}.service"].splitlines()
    supervisor = units["barnabee-supervisor.service"]
    assert set(re.findall(r"--at ([a-z0-9]+)=", supervisor)) == set(local)


def test_units_have_the_limits_dependencies_and_secrets_of_the_graph() -> None:
    found = report("barnabee-core", WITHOUT_STANDBY)["units"]
    created = found["barnabee-tokens.service"].split()
    for name, node in GRAPH.service.items():
        if node.role != "core":
            continue
        lines = found[f"barnabee-{name}.service"].splitlines()
        assert f"MemoryMax={node.memory_max_mib}M" in lines
        assert f"TimeoutStartSec={node.startup_budget_s}" in lines
        assert "WantedBy=barnabee.target" in lines
        requires = next((line for line in lines if line.startswith("Requires=")), "")
        for need in node.needs:
            assert f"barnabee-{need}.service" in requires
        for credential in set(node.credentials) - OFFSITE_ONLY - TOKENS - LLM_KEYS:
            assert any(line.startswith(f"LoadCredential={credential}:") for line in lines)
        for credential in TOKENS & set(node.credentials):
            assert f"{name}/{credential}" in created
            assert f'Environment="BARNABEE_TOKENS=/run/barnabee-tokens/{name}"' in lines


def test_redis_has_the_options_of_the_local_runner() -> None:
    unit = report("barnabee-core", WITHOUT_STANDBY)["units"]["barnabee-redis.service"]
    line = next(line for line in unit.splitlines() if line.startswith("ExecStart="))
    words = shlex.split(line)[4:]  # python -m barnabee.up.redis_server valkey-server
    options = {
        key.removeprefix("--"): value for key, value in zip(words[::2], words[1::2], strict=True)
    }
    runner = make_redis_options(GRAPH, "127.0.0.1", "/var/lib/barnabee-redis")
    del runner["set-proc-title"]  # set by the local runner only
    assert options == {**runner, "supervised": "systemd"}


@pytest.mark.parametrize("host", HOSTS)
def test_units_refer_to_existing_units_only(host: str) -> None:
    found = report(host)
    for name, text in found["units"].items():
        named = re.findall(r"^(?:After|Wants|Requires|PartOf)=(.*)$", text, re.MULTILINE)
        for other in {unit for line in named for unit in line.split()}:
            assert other in found["known"] or other == "network-online.target", (name, other)


@pytest.mark.parametrize("host", ["barnabee-core", "manofwar"])
def test_start_order_of_units_has_no_cycle(host: str) -> None:
    """systemd breaks a cycle by dropping an arbitrary start."""
    waiting = {
        name: set(re.findall(r"[\w-]+\.(?:service|target)", " ".join(lines)))
        for name, text in report(host)["units"].items()
        if (lines := re.findall(r"^After=(.*)$", text, re.MULTILINE))
    }
    while waiting:
        free = {name for name, others in waiting.items() if not others & waiting.keys()}
        assert free, waiting
        waiting = {name: others for name, others in waiting.items() if name not in free}


@pytest.mark.parametrize("host", ["barnabee-core", "barnabee-gpu"])
def test_written_system_toml_is_the_same_graph(host: str) -> None:
    assert system.parse_system(report(host)["written"]) == GRAPH


def test_only_hosts_with_the_gpu_service_have_models() -> None:
    for host, there in (("barnabee-core", False), ("barnabee-gpu", True), ("manofwar", True)):
        assert ("BARNABEE_MODELS=" in "".join(report(host)["units"].values())) is there


def test_override_of_a_host_reaches_its_services() -> None:
    found = report("barnabee-core", "{ barnabee.system.service.api.memory_max_mib = 2048; }")
    assert "MemoryMax=2048M" in found["units"]["barnabee-api.service"].splitlines()
    written = system.parse_system(found["written"])
    assert isinstance(written, System)
    assert written.service["api"].memory_max_mib == 2048
    assert written.model == GRAPH.model


def test_port_is_open_to_callers_and_monitoring_only() -> None:
    gpu = report("barnabee-gpu")["firewall"]
    rule = next(line for line in gpu["rules"].splitlines() if "dport 8001" in line)
    assert rule == "ip saddr { 10.77.0.12, 10.77.0.13, 10.77.0.1 } tcp dport 8001 accept"
    core = report("barnabee-core")["firewall"]
    assert core["tcp"][:2] == [80, 443]
    assert gpu["tcp"] == [22]


def test_backup_timers_have_their_own_credentials() -> None:
    found = report("barnabee-core")["units"]
    snapshot, drill = (found[f"barnabee-{name}.service"] for name in ("snapshot", "drill"))
    assert f"OnCalendar=*-*-* {GRAPH.backup.snapshot_at}:00" in found["barnabee-snapshot.timer"]
    assert f"OnCalendar=*-*-* {GRAPH.backup.drill_at}:00" in found["barnabee-drill.timer"]
    assert "Persistent=true" in found["barnabee-drill.timer"]
    assert "PathExists=/data/drill.request" in found["barnabee-drill.path"]
    assert "LoadCredential=b2_key_id:" in drill
    assert "LoadCredential" not in snapshot
    assert "IPAddressDeny=any" in snapshot
    assert "IPAddressDeny" not in drill
    assert "barnabee-audio.service" not in found
    assert {"Nice=19", "CPUQuota=25%"} <= set(drill.splitlines())


def test_offsite_snapshots_and_audio_copy_have_their_own_credentials() -> None:
    extra = """{
        barnabee.system.backup = { offsite = "nas:barnabee"; recovery_recipient = "age1q";
          audio_to = "barnabee@nas:recordings"; };
        barnabee.system.recording = { enabled = true; rooms = [ "kitchen" ]; };
    }"""
    units = report("barnabee-core", extra)["units"]
    for name in ("restore", "snapshot", "drill"):
        for key in OFFSITE_ONLY:
            assert f"LoadCredential={key}:" in units[f"barnabee-{name}.service"], name
    assert "LoadCredential=nas_ssh_key:" in units["barnabee-audio.service"]
    assert f"OnUnitActiveSec={GRAPH.backup.audio_every_s}" in units["barnabee-audio.timer"]


def test_no_secret_is_in_a_unit() -> None:
    for text in report("barnabee-core")["units"].values():
        assert not re.search(r"^Environment=\"(AWS_|\w*(TOKEN|KEY)=)", text, re.MULTILINE)


def test_guests_get_their_secrets_from_the_hypervisor() -> None:
    passed = report("beast")["passed"]
    for host, names in passed.items():
        for name, options in names.items():
            assert f"{name}:/var/lib/barnabee-secrets/{name}" in options, host
    core = report("barnabee-core")["units"]["barnabee-api.service"]
    assert "LoadCredential=api_token:/run/credentials/@system/api_token" in core.splitlines()
    assert set(passed["barnabee-gpu"]) == {"api_token"}
    assert {"b2_application_key", "tls_key"} <= set(passed["barnabee-core"])


def test_gpu_is_bound_to_vfio() -> None:
    kernel = report("beast")["kernel"]
    assert "vfio-pci.ids=10de:2705,10de:22bb" in kernel
    assert "initcall_blacklist=sysfb_init" not in kernel


def test_kernel_leaves_the_only_display_to_vfio() -> None:
    module = "{ barnabee.passthrough.onlyDisplay = true; }"
    kernel = report("beast", module)["kernel"]
    assert "initcall_blacklist=sysfb_init" in kernel


def test_inference_uses_the_gpu_of_the_system_file() -> None:
    slice_id = "MIG-0fa1b2c3-0000-1111-2222-333344445555"
    module = f'{{ barnabee.system.gpu = {{ device = "{slice_id}"; vram_mib = 20096; }}; }}'
    found = report("barnabee-gpu", module)
    assert found["failed"] == []
    unit = found["units"]["barnabee-gpu.service"].splitlines()
    assert f'Environment="CUDA_VISIBLE_DEVICES={slice_id}"' in unit
    assert "vram_mib = 20096" in found["written"]


def test_every_option_has_description_type_and_example() -> None:
    found = evaluate("hosts.options")
    assert len(found) > 150
    incomplete = [
        option["name"]
        for option in found
        if not (option["description"] and option["example"] and option["type"])
    ]
    assert incomplete == []


def test_options_page_is_up_to_date() -> None:
    page = (ROOT / "docs/reference/options.md").read_text(encoding="utf-8")
    assert page == evaluate("hosts.optionsText")


@needs_program("systemd-analyze", "systemd")
@pytest.mark.parametrize("host", ["barnabee-core", "barnabee-gpu", "manofwar"])
def test_units_are_hardened(host: str, tmp_path: Path) -> None:
    units = report(host)["units"]
    # Not the gate: it may activate another system and reboot.
    services = [name for name in units if name.endswith(".service") and name != GATE]
    for name in services:
        (tmp_path / name).write_text(units[name], encoding="utf-8")
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager"]
    for name in services:
        done = subprocess.run(
            [*command, str(tmp_path / name)], capture_output=True, text=True, check=False
        )
        found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
        assert found, done.stderr
        print(name, found[1])
        assert float(found[1]) <= EXPOSURE_MAX, name

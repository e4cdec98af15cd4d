"""Deployment: deploy.json, boot gate, automatic upgrades, apps."""

from __future__ import annotations

import re

import pytest

from barnabee.core import system
from barnabee.deploy.machine import SystemFacts
from barnabee.store import migrations
from support.nix import ROOT, evaluate, needs_nixpkgs

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
GRAPH = system.load_system(ROOT / "system.toml")


def facts(host: str, extra: str = "{ }") -> SystemFacts:
    return SystemFacts.model_validate_json(evaluate(f'(hosts.report "{host}" ({extra})).facts'))


def test_facts_of_beast_name_its_checks_and_the_database_of_its_guest() -> None:
    found = facts("beast")
    assert found.checks == ("barnabee-health.service", "barnabee-probe.service")
    assert found.data
    assert found.data.machine == "barnabee-core"
    assert found.data.database == "/srv/barnabee/data/barnabee.db"
    assert found.driver is None  # the GPU is its guest's
    assert found.kernel
    assert found.data_schema == len(migrations.load_migrations())
    assert found.limits.switch_s == GRAPH.deploy.switch_s
    guest = evaluate('(hosts.report "barnabee-core" { }).units')
    for unit in (
        found.data.pin_unit,
        f"{found.data.restore_unit}.service",
        found.data.services_unit,
    ):
        assert unit in guest


def test_facts_of_a_gpu_host_name_its_driver() -> None:
    extra = "{ lib, ... }: { barnabee.deploy.enable = lib.mkForce true; }"
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", facts("barnabee-gpu", extra).driver or "")


def test_guest_has_no_facts_of_its_own() -> None:
    assert evaluate('(hosts.report "barnabee-core" { }).facts') == "null"


def test_a_hypervisor_asks_its_guest_unless_that_follows() -> None:
    units = evaluate('(hosts.report "beast" { }).units')
    for name in ("health", "probe"):
        assert "await-role.sh -g barnabee-core " in units[f"barnabee-{name}.service"]
    health = units["barnabee-health.service"]
    asked = re.findall(r"--at (\w+)=", re.findall(r"^ExecStart=(.*)", health, re.MULTILINE)[0])
    of_guest = re.findall(r"--at (\w+)=", re.findall(r"OF_GUEST=(.*)", health)[0])
    assert {"gpu"} <= set(asked)
    assert {"api", "worker"} <= set(of_guest)
    assert {GRAPH.service[name].role for name in of_guest} == {"core"}
    assert "core" not in {GRAPH.service[name].role for name in asked}
    without = "{ lib, ... }: { barnabee.standby.virtualIp = lib.mkForce null; }"
    alone = evaluate(f'(hosts.report "beast" ({without})).units')["barnabee-health.service"]
    assert "await-role.sh" not in alone
    assert "--at api=" in alone


def test_boot_gate_runs_before_boot_complete() -> None:
    found = evaluate(
        'let r = hosts.report "beast" { }; in '
        '{ inherit (r) bootCounting; gate = r.units."barnabee-boot-gate.service"; }'
    )
    assert found["bootCounting"] in ({"enable": True, "tries": GRAPH.deploy.boot_tries}, None)
    lines = found["gate"].splitlines()
    assert "Before=boot-complete.target shutdown.target" in lines
    assert "X-RestartIfChanged=false" in lines
    assert "RestartPreventExitStatus=5" in lines
    assert "DefaultDependencies=false" in lines


def test_automatic_upgrade_uses_barnabee_switch() -> None:
    extra = (
        "{ barnabee.deploy.autoUpgrade = true; "
        'system.autoUpgrade = { enable = true; flake = "github:example/flake"; }; }'
    )
    script = evaluate(
        f"((hosts.hosts.beast.extendModules {{ modules = [ ({extra}) ]; }})"
        ".config.systemd.services.nixos-upgrade.script)"
    )
    assert script.endswith("/bin/barnabee switch github:example/flake#beast")
    assert evaluate(f'hosts.messages "beast" ({extra})') == []


def test_flake_has_the_apps() -> None:
    wanted = {"accept", "check", "deploy", "deploy-initial", "deploy-update", "facts"}
    found = evaluate("hosts.apps")
    assert set(found) >= wanted | {"rollback", "up"}
    for name, program in found.items():
        assert program.endswith(f"/bin/{name}")

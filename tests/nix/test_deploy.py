"""What a system says of itself, the gate, the apps, and the VM test that takes a switch back."""

from __future__ import annotations

import ast
import re

import pytest

from barnabee.core import system
from barnabee.deploy.facts import Facts
from barnabee.store import migrations
from support.nix import ROOT, evaluate, needs_nixpkgs

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
GRAPH = system.load(ROOT / "system.toml")


def facts(host: str, extra: str = "{ }") -> Facts:
    return Facts.model_validate_json(evaluate(f'(hosts.report "{host}" ({extra})).facts'))


def test_beast_is_checked_asked_aloud_and_pins_the_database_of_its_guest() -> None:
    found = facts("beast")
    assert found.checks == ("barnabee-health.service", "barnabee-probe.service")
    assert found.data
    assert found.data.machine == "barnabee-core"
    assert found.data.database == "/srv/barnabee/data/barnabee.db"
    assert found.driver is None  # the card is its guest's
    assert found.kernel
    assert found.data_schema == len(migrations.known())
    assert found.limits.switch_s == GRAPH.deploy.switch_s
    guest = evaluate('(hosts.report "barnabee-core" { }).units')
    for unit in (found.data.pin_unit, f"{found.data.restore_unit}.service", found.data.house):
        assert unit in guest


def test_a_machine_with_the_card_names_its_driver() -> None:
    extra = "{ lib, ... }: { barnabee.deploy.enable = lib.mkForce true; }"
    assert re.fullmatch(r"\d+\.\d+(\.\d+)?", facts("barnabee-gpu", extra).driver or "")


def test_a_guest_is_switched_with_the_machine_beneath() -> None:
    assert evaluate('(hosts.report "barnabee-core" { }).facts') == "null"


def test_the_gate_stands_before_the_boot_counts_as_good() -> None:
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


def test_upgrades_by_themselves_go_through_the_same_gate() -> None:
    extra = (
        "{ barnabee.deploy.autoUpgrade = true; "
        'system.autoUpgrade = { enable = true; flake = "github:house/flake"; }; }'
    )
    script = evaluate(
        f"((hosts.hosts.beast.extendModules {{ modules = [ ({extra}) ]; }})"
        ".config.systemd.services.nixos-upgrade.script)"
    )
    assert script.endswith("/bin/barnabee switch github:house/flake#beast")
    assert evaluate(f'hosts.messages "beast" ({extra})') == []


def test_the_apps_are_there() -> None:
    wanted = {"accept", "deploy", "deploy-initial", "deploy-update", "rollback", "up"}
    found = evaluate("hosts.apps")
    assert set(found) == wanted
    for name, program in found.items():
        assert program.endswith(f"/bin/{name}")


def test_the_vm_test_evaluates_and_its_script_is_python() -> None:
    found = evaluate('hosts.vm "rollback"')
    assert re.fullmatch(r"/nix/store/\S+-vm-test-run-rollback\.drv", found["drvPath"])
    assert found["failed"] == []
    tree = ast.parse(found["script"])
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert {"core", "gpu", "backup"} <= used

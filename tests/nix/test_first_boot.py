"""First installation: facts for the installer, the printed host file, secrets of the guests."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from barnabee.deploy import hardware, host_check
from barnabee.deploy.host_check import InstallFacts
from barnabee.deploy.host_secrets import HostSecrets
from support.hardware_tree import HardwareTree
from support.nix import ROOT, evaluate, needs_nixpkgs

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
LOGIN = 'users.users.root.openssh.authorizedKeys.keys = [ "ssh-ed25519 AAAA operator" ];'


def read_facts(host: str, extra: str = "{ }") -> InstallFacts:
    module = f"hosts.hosts.{host}.extendModules {{ modules = [ ({extra}) ]; }}"
    return InstallFacts.model_validate(evaluate(f"({module}).config.barnabee.installFacts"))


def test_the_placeholders_of_a_shipped_host_are_found() -> None:
    problems = host_check.find_problems("beast", read_facts("beast"), None)
    found = {match[1] for text in problems if (match := re.match(r"(\S+) is still the exa", text))}
    assert found == {
        "barnabee.bridgePorts",
        "barnabee.disk",
        "barnabee.passthrough.addresses",
        "barnabee.standby.lanAddresses",
        "barnabee.standby.virtualIp",
        "barnabee.uplink",
    }
    [last] = [text for text in problems if "example" not in text]
    assert "No SSH key may log in" in last


def test_a_failed_assertion_and_an_unknown_placeholder_are_found() -> None:
    extra = f"""{{ lib, ... }}: {{
        barnabee.placeholders = lib.mkForce [ "barnabee.dsk" ];
        barnabee.passthrough.iommu = lib.mkForce null;
        {LOGIN}
    }}"""
    unknown = "barnabee.placeholders names barnabee.dsk, which is no option: remove it."
    [failed, other] = host_check.find_problems("beast", read_facts("beast", extra), None)
    assert "needs an IOMMU: set barnabee.passthrough.iommu" in failed
    assert other == unknown


@pytest.mark.parametrize("host", ["beast", "manofwar"])
def test_the_printed_host_file_is_a_host_that_fits_its_machine(
    host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    HardwareTree(tmp_path).add_workstation()
    monkeypatch.setenv("ROOT", str(tmp_path))
    machine = hardware.read_hardware()
    kind = hardware.HostKind.HYPERVISOR if host == "beast" else hardware.HostKind.STANDBY
    text = hardware.render_host_file(host, kind, machine).replace("../..", str(ROOT))
    file = tmp_path / "default.nix"
    file.write_text(text, encoding="utf-8")
    module = f"{{ lib, ... }}: {{ barnabee.placeholders = lib.mkForce [ ]; {LOGIN} }}"
    found = evaluate(f"(hosts.make [ {file} ({module}) ]).config.barnabee.installFacts")
    assert host_check.find_problems(host, InstallFacts.model_validate(found), machine) == []


def test_a_guest_starts_only_with_its_secrets() -> None:
    found = evaluate("""
        let
          inherit (hosts.hosts.beast) config;
        in
        {
          secrets = config.environment.etc."barnabee/secrets.json".text;
          units = builtins.mapAttrs (_: unit: unit.text) config.systemd.units;
        }
    """)
    secrets = HostSecrets.model_validate_json(found["secrets"])
    assert secrets.guests.keys() == {
        "container@barnabee-core.service",
        "container@barnabee-monitoring.service",
        "microvm@barnabee-gpu.service",
    }
    for unit, names in secrets.guests.items():
        lines = found["units"][unit].splitlines()
        assert {f"ConditionPathExists={secrets.files[name]}" for name in names} <= set(lines)
    assert "barnabee-boot-gate.service" in secrets.failing
    assert "Type=notify" in found["units"]["barnabee-secrets.service"]


def test_a_standby_does_not_start_the_services_when_its_secrets_come() -> None:
    text = evaluate('hosts.hosts.manofwar.config.environment.etc."barnabee/secrets.json".text')
    assert "barnabee-healthy.target" not in json.loads(text)["failing"]

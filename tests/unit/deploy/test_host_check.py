"""Check of a host before its installation."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.deploy import hardware, host_check
from barnabee.deploy.host_check import GpuFunction, InstallFacts
from support.hardware_tree import HardwareTree

FACTS = InstallFacts(
    disk="/dev/disk/by-id/nvme-Maker_990_S1",
    interfaces=("enp7s0", "enp6s0"),
    gpu=(GpuFunction(address="0000:01:00.0", id="10de:2705"),),
    cpu="amd",
    has_login=True,
    encrypted=False,
    key_file=Path("/var/lib/sops-nix/key.txt"),
    secrets_directory=Path("/var/lib/barnabee-secrets"),
)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> hardware.Hardware:
    HardwareTree(tmp_path).add_workstation()
    monkeypatch.setenv("ROOT", str(tmp_path))
    return hardware.read_hardware()


def test_a_host_that_fits_its_machine_has_no_problems(machine: hardware.Hardware) -> None:
    assert host_check.find_problems("beast", FACTS, machine) == []


@pytest.mark.parametrize(
    ("changed", "problem"),
    [
        (
            {"placeholders": {"barnabee.uplink": '"enp5s0"'}},
            'barnabee.uplink is still the example "enp5s0"',
        ),
        ({"placeholders": {"barnabee.dsk": None}}, "names barnabee.dsk, which is no option"),
        ({"has_login": False}, "No SSH key may log in: add yours to users.users.root"),
        ({"failed": ("barnabee.disk is not set.",)}, "barnabee.disk is not set."),
        (
            {"disk": "/dev/disk/by-id/nvme-beast"},
            "that machine lacks; its disks: ata-Maker_4TB_S2, nvme-Maker_990_S1.",
        ),
        (
            {"interfaces": ("eno1",)},
            "no interface eno1 on that machine; its wired interfaces: enp7",
        ),
        (
            {"gpu": (GpuFunction(address="0000:02:00.0", id="10de:2705"),)},
            "expects 10de:2705 at 0000:02:00.0, where that machine has 144d:a80c.",
        ),
        ({"cpu": "intel"}, "barnabee.passthrough.iommu is intel, but the CPU is of amd."),
    ],
)
def test_a_problem_is_named_with_its_option(
    machine: hardware.Hardware, changed: dict[str, object], problem: str
) -> None:
    [found] = host_check.find_problems("beast", FACTS.model_copy(update=changed), machine)
    assert problem in found


def install_nix(folder: Path, facts: InstallFacts) -> None:
    """Install a `nix` that prints the facts of the host beast."""
    nix = folder / "nix"
    output = f"cat <<'END'\n{facts.model_dump_json()}\nEND\n"
    nix.write_text(f"#!/bin/sh\ncase $* in *#nixosConfigurations.beast.*)\n{output}esac\n")
    nix.chmod(0o755)


def test_the_command_lists_all_problems_of_a_host(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    placeholders = {"barnabee.disk": '"/dev/disk/by-id/x"'}
    changed = {"has_login": False, "placeholders": placeholders}
    install_nix(tmp_path, FACTS.model_copy(update=changed))
    done = CliRunner().invoke(app, ["check", "--host", "beast"])
    assert done.exit_code == 2
    assert "barnabee.disk is still the example" in done.output
    assert "No SSH key may log in" in done.output


def test_the_command_accepts_a_host_without_problems(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    install_nix(tmp_path, FACTS)
    done = CliRunner().invoke(app, ["check", "--host", "beast"])
    assert done.exit_code == 0, done.output
    assert done.output == "beast: ready to be installed\n"

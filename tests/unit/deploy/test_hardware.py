"""Hardware of a machine, read from directories like /sys, and its host file."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from barnabee.cli.app import app
from barnabee.deploy import hardware
from support.hardware_tree import HardwareTree

EXPECTED = """\
# Hardware of beast, as `barnabee facts` found it.
{
  imports = [
    ../../nixos/profiles/base.nix
    ../../nixos/profiles/hypervisor.nix
  ];

  networking.hostName = "beast";
  hardware.cpu.amd.updateMicrocode = true;
  boot.kernelModules = [ "kvm-amd" ];
  boot.initrd.availableKernelModules = [
    "ahci"
    "nvme"
    "sd_mod"
    "usbhid"
    "xhci_pci"
  ];

  barnabee = {
    disk = "/dev/disk/by-id/nvme-Maker_990_S1"; # 931 GiB; erased
    # another disk: ata-Maker_4TB_S2, 3726 GiB
    uplink = "enp7s0";
    bridgePorts = [ "enp6s0" ]; # the cable between primary and standby; none: remove it

    passthrough = {
      enable = true;
      iommu = "amd";
      onlyDisplay = true;
      addresses = [
        "0000:01:00.0"
        "0000:01:00.1"
      ];
      ids = [
        "10de:2705"
        "10de:22bb"
      ];
    };

    guests = {
      barnabee-gpu.kind = "vm";
      barnabee-core = {
        kind = "container";
        directories."/data" = "/srv/barnabee/data";
      };
      barnabee-monitoring.kind = "container";
    };
  };
}
"""


@pytest.fixture
def tree(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> HardwareTree:
    monkeypatch.setenv("ROOT", str(tmp_path))
    return HardwareTree(tmp_path)


def print_facts(*arguments: str) -> str:
    done = CliRunner().invoke(app, ["facts", *arguments])
    assert done.exit_code == 0, done.output
    return done.output


def test_the_host_file_names_disk_interfaces_gpu_and_cpu(tree: HardwareTree) -> None:
    tree.add_workstation()
    assert print_facts("beast") == EXPECTED


def test_a_second_display_controller_leaves_the_screen_to_the_host(tree: HardwareTree) -> None:
    tree.add_workstation()
    tree.add_function("0000:0a:00.0", "1002:164e", "030000", "amdgpu")
    assert "onlyDisplay" not in print_facts("beast")


def test_what_a_machine_lacks_is_said_in_its_file(tree: HardwareTree) -> None:
    tree.add_cpu("GenuineIntel")
    found = print_facts("beast")
    for comment in (
        "# disk: there is no internal disk here",
        "# uplink: there is no wired interface here",
        "# passthrough: there is no NVIDIA GPU here",
    ):
        assert comment in found


def test_a_disabled_iommu_is_said(tree: HardwareTree) -> None:
    tree.add_workstation()
    (tree.root / "sys/bus/pci/devices/0000:01:00.1/iommu_group/type").unlink()
    (tree.root / "sys/bus/pci/devices/0000:01:00.1/iommu_group").rmdir()
    assert "# The IOMMU is off: enable it in the firmware." in print_facts("beast")


def test_a_standby_has_its_own_profile_and_the_cable(tree: HardwareTree) -> None:
    tree.add_workstation()
    found = print_facts("manofwar")
    assert "../../nixos/profiles/standby.nix" in found
    assert 'network.interface = "enp6s0";' in found
    assert "passthrough" not in found


def test_a_guest_has_no_host_file() -> None:
    done = CliRunner().invoke(app, ["facts", "barnabee-core"])
    assert done.exit_code == 2
    assert "barnabee-core is no physical host; those are beast" in done.output


def test_this_machine_can_be_read() -> None:
    assert hardware.read_hardware().cpu in {"amd", "intel", ""}

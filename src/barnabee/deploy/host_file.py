"""hosts/NAME/default.nix of a machine, from its hardware. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from barnabee.deploy.hardware import Hardware, PciFunction

_BOOT_MODULES = {"ahci", "nvme", "sd_mod", "usbhid", "xhci_pci"}
GIB = 2**30


class HostKind(StrEnum):
    """Kind of a physical host; the value is its profile in nixos/profiles."""

    HYPERVISOR = "hypervisor"
    STANDBY = "standby"


_GUESTS = """
    guests = {
      barnabee-gpu.kind = "vm";
      barnabee-core = {
        kind = "container";
        directories."/data" = "/srv/barnabee/data";
      };
      barnabee-monitoring.kind = "container";
    };
"""


def render_host_file(name: str, kind: HostKind, hardware: Hardware) -> str:
    """Return the file. Where the hardware lacks something, a comment says so and `check` finds it.

    Of several disks and interfaces the first is used; comments have the others.
    """
    modules = _list(sorted(_BOOT_MODULES | set(hardware.boot_modules)), 2)
    is_hypervisor = kind is HostKind.HYPERVISOR
    lines = [
        f"# Hardware of {name}, as `barnabee facts` found it.",
        "{",
        "  imports = [",
        "    ../../nixos/profiles/base.nix",
        f"    ../../nixos/profiles/{kind.value}.nix",
        *([] if is_hypervisor else ["    ../../nixos/modules/disk.nix"]),
        "  ];",
        "",
        f'  networking.hostName = "{name}";',
        *([] if is_hypervisor else ["  boot.loader.systemd-boot.enable = true;"]),
        *_cpu_lines(hardware),
        f"  boot.initrd.availableKernelModules = {modules};",
        "",
        "  barnabee = {",
        *_disk_lines(hardware),
        *_interface_lines(hardware, kind),
        *(_gpu_lines(hardware) if is_hypervisor else []),
        *(_GUESTS.rstrip("\n").split("\n") if is_hypervisor else []),
        "  };",
        "}",
    ]
    return "\n".join(lines) + "\n"


def _cpu_lines(hardware: Hardware) -> list[str]:
    if not hardware.cpu:
        return []
    return [
        f"  hardware.cpu.{hardware.cpu}.updateMicrocode = true;",
        f'  boot.kernelModules = [ "kvm-{hardware.cpu}" ];',
    ]


def _disk_lines(hardware: Hardware) -> list[str]:
    disks = hardware.internal_disks
    if not disks:
        return ["    # disk: there is no internal disk here"]
    first, *others = disks
    return [
        f'    disk = "/dev/disk/by-id/{first.name}"; # {first.size_bytes / GIB:.0f} GiB; erased',
        *(f"    # another disk: {one.name}, {one.size_bytes / GIB:.0f} GiB" for one in others),
    ]


def _interface_lines(hardware: Hardware, kind: HostKind) -> list[str]:
    if not hardware.interfaces:
        return ["    # uplink: there is no wired interface here"]
    first, *others = hardware.interfaces
    option = "bridgePorts = [ {} ];" if kind is HostKind.HYPERVISOR else "network.interface = {};"
    cable = "the cable between primary and standby; none: remove it"
    lines = [f'    uplink = "{first}";']
    if others:
        lines.append(f"    {option.format(_quote(others[0]))} # {cable}")
        lines += [f"    # another interface: {name}" for name in others[1:]]
    return lines


def _gpu_lines(hardware: Hardware) -> list[str]:
    if not hardware.gpus:
        return ["", "    # passthrough: there is no NVIDIA GPU here"]
    first, *others = hardware.gpus
    iommu = [f'      iommu = "{hardware.cpu}";'] if hardware.cpu else []
    if hardware.displays <= {one.address for one in first}:
        iommu.append("      onlyDisplay = true;")
    if not all(one.has_iommu for one in first):
        iommu.append("      # The IOMMU is off: enable it in the firmware.")
    return [
        "",
        "    passthrough = {",
        "      enable = true;",
        *iommu,
        f"      addresses = {_list((one.address for one in first), 6)};",
        f"      ids = {_list((one.ids for one in first), 6)};",
        *(f"      # another GPU: {_describe_gpu(gpu)}" for gpu in others),
        "    };",
    ]


def _describe_gpu(functions: list[PciFunction]) -> str:
    return ", ".join(f"{one.address} ({one.ids})" for one in functions)


def _list(values: Iterable[str], indent: int) -> str:
    """Return a Nix list in nixfmt's form, for a line that is indented by `indent`."""
    items = [_quote(value) for value in values]
    if len(items) == 1:
        return f"[ {items[0]} ]"
    space = " " * indent
    return "\n".join(["[", *(f"{space}  {item}" for item in items), f"{space}]"])


def _quote(text: str) -> str:
    return f'"{text}"'

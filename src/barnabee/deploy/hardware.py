"""Hardware of a machine, and the hosts/NAME/default.nix that names it.

A shell script reads it from /sys, so that it works on a NixOS installer over SSH too.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from barnabee.deploy.command import run_checked

_BOOT_MODULES = {"ahci", "nvme", "sd_mod", "usbhid", "xhci_pci"}
GIB = 2**30


SCRIPT = Path(__file__).with_name("hardware.sh")
_READ_S = 30.0
_SECTOR_BYTES = 512
_NVIDIA = "10de"
_DISPLAY, _STORAGE, _USB = "03", "01", "0c03"  # beginnings of PCI classes
_CPU_VENDORS = {"AuthenticAMD": "amd", "GenuineIntel": "intel"}


@dataclass(frozen=True)
class Disk:
    """A disk under one of its names in /dev/disk/by-id."""

    name: str
    block: str
    size_bytes: int
    is_internal: bool


@dataclass(frozen=True)
class PciFunction:
    """One function of a PCI device; `module` is the kernel module of its driver, or ""."""

    address: str
    vendor_id: str
    device_id: str
    class_code: str
    has_iommu: bool
    module: str

    @property
    def ids(self) -> str:
        return f"{self.vendor_id}:{self.device_id}"

    @property
    def slot(self) -> str:
        return self.address.rpartition(".")[0]


@dataclass(frozen=True)
class Hardware:
    """Hardware of one machine. `interfaces` are the wired ones, those with a link first."""

    cpu: str = ""  # amd, intel or ""
    disks: tuple[Disk, ...] = ()
    interfaces: tuple[str, ...] = ()
    pci: tuple[PciFunction, ...] = field(default=(), repr=False)

    @property
    def internal_disks(self) -> list[Disk]:
        """Return each internal disk once, under its most telling name; NVMe first, then by size."""
        by_block: dict[str, Disk] = {}
        for disk in self.disks:
            known = by_block.get(disk.block)
            if disk.is_internal and (known is None or _name_rank(disk) < _name_rank(known)):
                by_block[disk.block] = disk
        return sorted(by_block.values(), key=_disk_rank)

    @property
    def gpus(self) -> list[list[PciFunction]]:
        """Return all functions of each NVIDIA GPU."""
        slots = [
            one.slot
            for one in self.pci
            if one.vendor_id == _NVIDIA and one.class_code.startswith(_DISPLAY)
        ]
        return [[one for one in self.pci if one.slot == slot] for slot in dict.fromkeys(slots)]

    @property
    def displays(self) -> set[str]:
        """Return the addresses of all display controllers."""
        return {one.address for one in self.pci if one.class_code.startswith(_DISPLAY)}

    @property
    def boot_modules(self) -> list[str]:
        """Return the kernel modules of disk and USB controllers."""
        controllers = (_STORAGE, _USB)
        return sorted(
            {
                one.module
                for one in self.pci
                if one.module and one.class_code.startswith(controllers)
            }
        )


def _disk_rank(disk: Disk) -> tuple[bool, int, str]:
    return not disk.block.startswith("nvme"), -disk.size_bytes, disk.name


def _name_rank(disk: Disk) -> tuple[bool, int, str]:
    is_number = disk.name.startswith(("wwn-", "nvme-eui.", "nvme-nvme.", "scsi-"))
    return is_number, len(disk.name), disk.name


def read_hardware(address: str | None = None) -> Hardware:
    """Read the hardware of this machine, or of `address` over SSH; StepFailed."""
    script = SCRIPT.read_text(encoding="utf-8")
    if address is None:
        return parse_hardware(run_checked("sh", "-c", script, limit_s=_READ_S))
    ssh = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10", address)
    return parse_hardware(run_checked(*ssh, script, limit_s=_READ_S))


def parse_hardware(text: str) -> Hardware:
    """Return the hardware from the script's output. Pure."""
    lines = [line.split("\t") for line in text.splitlines()]

    def rows(kind: str) -> list[list[str]]:
        return [fields for name, *fields in lines if name == kind]

    cpu = next((fields[0] for fields in rows("cpu")), "")
    interfaces = sorted(rows("interface"), key=lambda fields: (fields[1] != "up", fields[0]))
    return Hardware(
        cpu=_CPU_VENDORS.get(cpu, ""),
        disks=tuple(
            Disk(name, block, int(sectors) * _SECTOR_BYTES, bus == "internal")
            for name, block, sectors, bus in rows("disk")
        ),
        interfaces=tuple(name for name, _ in interfaces),
        pci=tuple(_parse_function(fields) for fields in rows("pci")),
    )


def _parse_function(fields: list[str]) -> PciFunction:
    address, vendor, device, class_code, iommu, module = fields
    vendor, device, class_code = (text.removeprefix("0x") for text in (vendor, device, class_code))
    return PciFunction(address, vendor, device, class_code, iommu == "yes", module)


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

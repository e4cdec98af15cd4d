"""Hardware of a machine, as far as a host's configuration names it: disks, interfaces, PCI, CPU.

A shell script reads it from /sys, so that it works on a NixOS installer over SSH too.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from barnabee.deploy.command import run_checked

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

"""Directories as /sys, /proc and /dev/disk/by-id show them, of a machine made up for tests."""

from __future__ import annotations

from pathlib import Path

GIB_SECTORS = 2**21


class HardwareTree:
    """A root directory with parts that a test adds."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _write(self, path: str, text: str) -> None:
        file = self.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{text}\n", encoding="utf-8")

    def _link(self, path: str, target: str) -> None:
        link = self.root / path
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target)

    def add_cpu(self, vendor: str) -> None:
        self._write("proc/cpuinfo", f"processor\t: 0\nvendor_id\t: {vendor}\nmodel\t\t: 1\n")

    def add_disk(self, block: str, gib: int, *names: str, bus: str = "pci0000:00/ata1") -> None:
        """Add a disk with a partition under each of its names."""
        device = f"sys/devices/{bus}/block/{block}"
        self._write(f"{device}/size", str(gib * GIB_SECTORS))
        self._write(f"{device}/removable", "0")
        self._link(f"sys/block/{block}", f"../devices/{bus}/block/{block}")
        for name in names:
            self._link(f"dev/disk/by-id/{name}", f"../../{block}")
            self._link(f"dev/disk/by-id/{name}-part1", f"../../{block}1")

    def add_interface(self, name: str, state: str, *, wireless: bool = False) -> None:
        self._write(f"sys/class/net/{name}/operstate", state)
        self._write(f"sys/class/net/{name}/device/uevent", "")
        if wireless:
            self._write(f"sys/class/net/{name}/wireless/index", "")

    def add_function(self, address: str, ids: str, class_code: str, module: str = "") -> None:
        """Add a PCI function that has an IOMMU."""
        device = f"sys/bus/pci/devices/{address}"
        vendor, _, product = ids.partition(":")
        for name, value in (("vendor", vendor), ("device", product), ("class", class_code)):
            self._write(f"{device}/{name}", f"0x{value}")
        self._write(f"{device}/iommu_group/type", "DMA")
        if module:
            self._link(f"{device}/driver/module", f"../../../../../module/{module}")

    def add_workstation(self) -> None:
        """Add what a machine for a hypervisor has, booted from a USB stick."""
        self.add_cpu("AuthenticAMD")
        self.add_disk("nvme0n1", 931, "nvme-eui.00a0b1", "nvme-Maker_990_S1", bus="pci0000:00/nvme")
        self.add_disk("sda", 3726, "wwn-0x5000c", "ata-Maker_4TB_S2")
        self.add_disk("sdb", 29, "usb-Stick_0", bus="pci0000:00/usb1/1-2")
        self.add_interface("enp6s0", "down")
        self.add_interface("enp7s0", "up")
        self.add_interface("wlp5s0", "up", wireless=True)
        self._write("sys/class/net/lo/operstate", "unknown")
        self.add_function("0000:01:00.0", "10de:2705", "030000", "nouveau")
        self.add_function("0000:01:00.1", "10de:22bb", "040300", "snd_hda_intel")
        self.add_function("0000:02:00.0", "144d:a80c", "010802", "nvme")
        self.add_function("0000:03:00.0", "1022:43f7", "0c0330", "xhci_pci")

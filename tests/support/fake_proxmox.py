"""Stand-in for `pct` and `qm` of Proxmox VE: checks its arguments as their manual pages say.

Run as `fake_proxmox.py STATE.json pct|qm ARGUMENTS`; STATE.json has the guests and their disks.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

BOOLEAN = "[01]"
NUMBER = r"\d+"
NAME = r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?"
ADDRESS = r"\d+\.\d+\.\d+\.\d+"
NEW_VOLUME = re.compile(r"(?P<storage>[A-Za-z][\w.-]*):(?P<gib>\d+)")

# Sub-options of an option, each with its pattern. The first takes a value without a key.
Keys = dict[str, str]
NETWORK_LXC: Keys = {
    "name": "[a-z]+[0-9]*",
    "bridge": r"[\w.-]+",
    "firewall": BOOLEAN,
    "gw": ADDRESS,
    "hwaddr": "[0-9A-F:]{17}",
    "ip": rf"{ADDRESS}/\d+|dhcp|manual",
    "tag": NUMBER,
    "type": "veth",
}
NETWORK_VM: Keys = {
    "model": "virtio|e1000|rtl8139|vmxnet3",
    "bridge": r"[\w.-]+",
    "firewall": BOOLEAN,
    "tag": NUMBER,
}
VOLUME: Keys = {
    "volume": r"\S+",
    "mp": "/.+",
    "backup": BOOLEAN,
    "size": r"\d+[KMGT]",
    "ro": BOOLEAN,
}
DISK: Keys = {
    "file": r"\S+",
    "import-from": r"\S+",
    "discard": "on|ignore",
    "ssd": BOOLEAN,
    "iothread": BOOLEAN,
    "size": r"\d+[KMGT]",
}
EFI_DISK: Keys = {"file": r"\S+", "efitype": "2m|4m", "pre-enrolled-keys": BOOLEAN}
PCI: Keys = {
    "host": r"([0-9a-f]{4}:)?[0-9a-f]{2}:[0-9a-f]{2}(\.[0-7])?",
    "mapping": r"[\w-]+",
    "pcie": BOOLEAN,
    "x-vga": BOOLEAN,
    "rombar": BOOLEAN,
}
OPTIONS: dict[str, dict[str, str | Keys]] = {
    "pct": {
        "arch": "amd64|arm64|armhf|i386|riscv32|riscv64",
        "cores": NUMBER,
        "features": {"nesting": BOOLEAN, "keyctl": BOOLEAN, "fuse": BOOLEAN},
        "hostname": NAME,
        "memory": NUMBER,
        "mp[n]": VOLUME,
        "net[n]": NETWORK_LXC,
        "onboot": BOOLEAN,
        "ostype": "alpine|archlinux|centos|debian|fedora|gentoo|nixos|opensuse|ubuntu|unmanaged",
        "rootfs": VOLUME,
        "start": BOOLEAN,
        "swap": NUMBER,
        "unprivileged": BOOLEAN,
    },
    "qm": {
        "balloon": NUMBER,
        "bios": "ovmf|seabios",
        "boot": {"order": r"[a-z]+\d+(;[a-z]+\d+)*"},
        "cores": NUMBER,
        "cpu": r"[\w-]+",
        "efidisk0": EFI_DISK,
        "hostpci[n]": PCI,
        "ide[n]": DISK,
        "ipconfig[n]": {"ip": rf"{ADDRESS}/\d+|dhcp", "gw": ADDRESS},
        "machine": r"q35|pc|pc-[\w.+-]+",
        "memory": NUMBER,
        "name": NAME,
        "net[n]": NETWORK_VM,
        "onboot": BOOLEAN,
        "ostype": "l24|l26|other|solaris|win10|win11",
        "scsi[n]": DISK,
        "scsihw": "lsi|lsi53c810|megasas|pvscsi|virtio-scsi-pci|virtio-scsi-single",
        "serial[n]": "/dev/.+|socket",
        "vga": "cirrus|none|qxl|serial[0-3]|std|virtio|vmware",
    },
}


class UsageError(Exception):
    """What the program would print before it ends with 255."""


def parse_options(tool: str, arguments: list[str]) -> dict[str, str]:
    """Return the options of `create`; UsageError for what the manual page does not allow."""
    if len(arguments) % 2:
        raise UsageError("400 wrong number of arguments")
    options: dict[str, str] = {}
    for flag, value in zip(arguments[::2], arguments[1::2], strict=True):
        name = flag.removeprefix("--")
        form = OPTIONS[tool].get(name) or OPTIONS[tool].get(re.sub(r"\d+$", "[n]", name))
        if not flag.startswith("--") or form is None or name in options:
            raise UsageError(f"Unknown option: {name}")
        check_value(name, value, form)
        options[name] = value
    return options


def check_value(name: str, value: str, form: str | Keys) -> None:
    if isinstance(form, str):
        if not re.fullmatch(form, value):
            raise UsageError(f"400 parameter verification failed. {name}: {value}")
        return
    for key, part in split_value(value, next(iter(form))).items():
        if key not in form or not re.fullmatch(form[key], part):
            raise UsageError(f"400 parameter verification failed. {name}: invalid format - {key}")


def split_value(value: str, default_key: str) -> dict[str, str]:
    pairs = (part.partition("=") for part in value.split(","))
    return {key if equals else default_key: text if equals else key for key, equals, text in pairs}


def allocate_disks(tool: str, options: dict[str, str]) -> dict[str, int]:
    """Return the GiB of each new disk; UsageError for one that is neither new nor imported."""
    disks = {}
    for name, value in options.items():
        form = OPTIONS[tool].get(name) or OPTIONS[tool].get(re.sub(r"\d+$", "[n]", name))
        if form not in (VOLUME, DISK, EFI_DISK):
            continue
        parts = split_value(value, "volume")
        volume = NEW_VOLUME.fullmatch(parts["volume"])
        if volume is None:
            raise UsageError(f"no such volume '{parts['volume']}'")
        source = parts.get("import-from")
        if source is not None and not (source.startswith("/") and Path(source).is_file()):
            raise UsageError(f"import source '{source}' does not exist")
        if source is None and volume["gib"] == "0":
            raise UsageError(f"{name}: a new volume needs a size")
        disks[name] = int(volume["gib"])
    return disks


def create(state: dict[str, Any], tool: str, arguments: list[str]) -> None:
    identity, *rest = arguments
    if not 100 <= int(identity) <= 999999999 or identity in state:
        raise UsageError(f"unable to create guest {identity}: it exists or its id is not valid")
    if tool == "pct":
        template, *rest = rest
        if not Path(template).is_file():
            raise UsageError(f"volume '{template}' does not exist")
    options = parse_options(tool, rest)
    disks = allocate_disks(tool, options)
    state[identity] = {"tool": tool, "options": options, "disks": disks}


def resize(state: dict[str, Any], arguments: list[str]) -> None:
    identity, disk, size = arguments
    disks = state[identity]["disks"]
    if not re.fullmatch(r"\d+G", size) or int(size[:-1]) < disks[disk]:
        raise UsageError("400 shrinking disks is not supported")
    disks[disk] = int(size[:-1])


def run(state: dict[str, Any], tool: str, arguments: list[str]) -> None:
    match arguments:
        case ["create", *rest]:
            create(state, tool, rest)
        case ["config", identity]:
            if state.get(identity, {}).get("tool") != tool:
                raise UsageError(f"Configuration file for {identity} does not exist")
        case ["disk", "resize", *rest] if tool == "qm":
            resize(state, rest)
        case _:
            raise UsageError(f"ERROR: unknown command '{tool} {' '.join(arguments[:1])}'")


def main() -> int:
    file, tool, *arguments = sys.argv[1:]
    path = Path(file)
    state = json.loads(path.read_text()) if path.exists() else {}
    try:
        run(state, tool, arguments)
    except UsageError as error:
        print(error, file=sys.stderr)
        return 255
    path.write_text(json.dumps(state))
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Proxmox: the commands that create the guests, run against a stand-in for `pct` and `qm`."""

from __future__ import annotations

import functools
import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from support import fake_proxmox
from support.nix import evaluate, needs_nixpkgs
from support.programs import needs_program

pytestmark = [needs_nixpkgs, pytest.mark.timeout(400)]
NODE = "hosts.hosts.battleserver"
ADDRESSES = {
    "barnabee-core": "10.77.0.12",
    "barnabee-gpu": "10.77.0.11",
    "barnabee-monitoring": "10.77.0.13",
}
GUESTS = tuple(ADDRESSES)


@functools.cache
def files(module: str = "{ }") -> dict[str, str]:
    node = f"({NODE}.extendModules {{ modules = [ ({module}) ]; }})"
    found: dict[str, str] = evaluate(f"{node}.config.system.build.proxmoxFiles")
    return found


def commands(text: str) -> list[list[str]]:
    """Return the words of each `pct` and `qm` of the script."""
    lines = (shlex.split(line) for line in text.replace("\\\n", " ").splitlines())
    return [words for words in lines if words[:1] in (["pct"], ["qm"])]


class Node:
    """A Proxmox node with stand-ins on PATH, and a directory of images."""

    def __init__(self, path: Path) -> None:
        self._path = path
        for name in ("bin", "images"):
            (path / name).mkdir()
        for tool in ("pct", "qm"):
            program = path / "bin" / tool
            call = shlex.join(
                [sys.executable, fake_proxmox.__file__, str(path / "state.json"), tool]
            )
            program.write_text(f'#!/bin/sh\nexec {call} "$@"\n', encoding="utf-8")
            program.chmod(0o755)
        for guest in GUESTS:
            for extension in ("tar.xz", "qcow2"):
                (path / "images" / f"{guest}.{extension}").touch()

    def run(self, script: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["/bin/sh", "-c", script, "create-guests.sh", str(self._path / "images")],
            env={"PATH": f"{self._path / 'bin'}:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )

    def guests(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads((self._path / "state.json").read_text(encoding="utf-8"))
        return found


@pytest.fixture
def node(tmp_path: Path) -> Node:
    return Node(tmp_path)


def test_commands_create_every_guest_with_its_disks(node: Node) -> None:
    done = node.run(files()["create-guests.sh"])
    assert done.returncode == 0, done.stderr
    guests = node.guests()
    assert {key: value["disks"] for key, value in guests.items()} == {
        "110": {"rootfs": 32, "mp0": 32},
        "111": {"rootfs": 64},
        "120": {"efidisk0": 1, "scsi0": 64},
    }
    assert f"ip={ADDRESSES['barnabee-core']}/24" in guests["110"]["options"]["net0"]
    assert guests["120"]["options"]["hostpci0"] == "0000:01:00,pcie=1,x-vga=1"
    assert guests["120"]["options"]["machine"] == "q35"


def test_a_guest_that_exists_is_left_as_it_is(node: Node) -> None:
    script = files()["create-guests.sh"]
    node.run(script)
    before = node.guests()
    done = node.run(script)
    assert done.returncode == 0, done.stderr
    assert node.guests() == before
    assert "barnabee-core: guest 110 exists and is left as it is" in done.stdout


def test_every_command_has_only_options_of_the_manual() -> None:
    found = commands(files()["create-guests.sh"])
    assert len(found) == 4  # three guests, and the size of the disk of the VM
    for words in found:
        if words[1] == "create":
            first = 4 if words[0] == "pct" else 3
            options = fake_proxmox.parse_options(words[0], words[first:])
            # Without a cloud-init drive it would do nothing.
            assert not [name for name in options if name.startswith("ipconfig")]


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("rootfs", "local-lvm:vm-110-disk-0"),  # no volume of that name exists
        ("rootfs", "local-lvm:0"),
        ("net0", "name=eth0,address=10.77.0.12/24"),
        ("colour", "blue"),
    ],
)
def test_stand_in_refuses_what_proxmox_refuses(node: Node, option: str, value: str) -> None:
    done = node.run(f'pct create 110 "$1/barnabee-core.tar.xz" --{option} {value}')
    assert done.returncode == 255
    assert done.stderr


@needs_program("shellcheck", "shellcheck")
def test_shellcheck_accepts_the_commands(tmp_path: Path) -> None:
    script = tmp_path / "create-guests.sh"
    script.write_text(files()["create-guests.sh"], encoding="utf-8")
    done = subprocess.run(["shellcheck", str(script)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_node_binds_the_gpu_of_the_options() -> None:
    module = (
        '{ barnabee.passthrough = { onlyDisplay = true; iommu = "intel"; ids = ["10de:2782"]; }; }'
    )
    text = files(module)["vfio.conf"]
    assert "options vfio-pci ids=10de:2782\n" in text
    assert "Kernel command line: iommu=pt intel_iommu=on initcall_blacklist=sysfb_init\n" in text
    assert "sysfb" not in files()["vfio.conf"]


@pytest.mark.parametrize("guest", GUESTS)
def test_images_have_the_name_and_address_of_the_commands(guest: str) -> None:
    found = evaluate(f"hosts.images.{guest}")
    lxc, vm = found["lxc"], found["vm"]
    assert (lxc["file"], vm["file"]) == (f"{guest}.tar.xz", f"{guest}.qcow2")
    assert lxc["name"] == vm["name"] == guest
    assert lxc["roles"] == vm["roles"] == [guest.removeprefix("barnabee-")]
    assert vm["addresses"] == [f"{ADDRESSES[guest]}/24"]
    for image in (lxc, vm):
        assert image["image"].endswith(".drv")
        assert image["failed"] == []
        assert "barnabee-lease" not in image["services"]
    assert (lxc["driver"], vm["driver"]) == (False, guest == "barnabee-gpu")

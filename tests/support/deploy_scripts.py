"""A machine whose generations are directories with real scripts that start and stop processes.

Everything of `barnabee.deploy.nixos` runs for real; what it calls (systemctl, nix-env, bootctl,
systemd-run) are the scripts of tests/data/deploy/bin.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from barnabee.deploy.journal import Journal, Record

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
    """The machine below a directory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.profile = root / "nix/var/nix/profiles/system"
        for directory in ("run", "data", "proc/sys/kernel/random", "sys/module/nvidia", "gen"):
            (root / directory).mkdir(parents=True)
        (root / "sys/firmware/efi/efivars").mkdir(parents=True)
        self.profile.parent.mkdir(parents=True)
        self.boots = 0
        self.journal = Journal(root / "deploys")

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PATH": f"{LIB / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(SRC),
            "PYTHON": sys.executable,
            "ROOT": str(self.root),
            "LIB": str(LIB),
        }

    def generation(
        self,
        name: str,
        *,
        schema: int = 1,
        driver: str | None = None,
        unwell: bool = False,
        refuses: bool = False,
    ) -> Path:
        """Make a generation; nothing runs it yet."""
        where = self.root / "gen" / name
        (where / "bin").mkdir(parents=True)
        (where / "etc/barnabee").mkdir(parents=True)
        program = where / "bin" / "switch-to-configuration"
        shutil.copy(LIB / "switch-to-configuration.sh", program)
        program.chmod(0o755)
        (where / "schema").write_text(str(schema))
        for flag, wanted in (("unwell", unwell), ("refuses", refuses)):
            if wanted:
                (where / flag).touch()
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
        (where / "etc/barnabee/deploy.json").write_text(json.dumps(facts))
        return where

    def install(self, system: Path) -> None:
        """Make it what is booted, and boot it."""
        arguments = ("--profile", str(self.profile), "--set", str(system))
        self.call(str(LIB / "bin/nix-env"), *arguments)
        self.call(str(system / "bin/switch-to-configuration"), "boot")
        self.boot()

    def boot(self) -> Path:
        """Cut the power, and start what the boot loader takes."""
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
        """Run the switch, the watch or the gate as a process of its own."""
        driver = Path(__file__).with_name("deploy_driver.py")
        command = [sys.executable, str(driver), str(self.root), what, *arguments]
        return subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, check=False
        )

    def heal(self) -> None:
        """Do what a machine does by itself until nothing is left to do: the timer, the restart."""
        for _ in range(12):
            if (self.root / "rebooting").exists():
                self.boot()
                self.drive("gate")
            elif (self.root / "armed").exists():
                self.drive("watch")
            else:
                return

    def running(self) -> Path:
        return (self.root / "run/current-system").resolve()

    def booted_next(self) -> Path:
        return Path((self.root / "default").read_text().strip())

    def well(self) -> bool:
        """Ask the running process itself."""
        command = ["sh", str(LIB / "health.sh")]
        return subprocess.run(command, env=self.environment(), check=False).returncode == 0

    def record(self) -> Record | None:
        found = self.journal.every()
        return found[-1] if found else None

"""Container with its own systemd: `systemd-nspawn` on an overlay of this machine's files.

Writes stay in memory. The network is private. `BARNABEE_BOOT_ROOT` names the directory of another
system to use instead, for example one with a newer systemd.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from support.wait import LAST_RESORT_S

START_LIMIT_S = 60  # until PID 1 answers
NSPAWN = "systemd-nspawn"
# Only what this target wants is started, none of Debian's services.
TARGET = """\
[Unit]
Description=What this test starts
Requires=basic.target
After=basic.target
"""


def unavailability_reason() -> str | None:
    """Return why no container can be booted here; None when one can."""
    if os.geteuid() != 0:
        return "only root can boot a container"
    for program in (NSPAWN, "nsenter", "ip"):
        if shutil.which(program) is None:
            return f"there is no {program} here (Debian: systemd-container, util-linux, iproute2)"
    if not Path("/usr/lib/systemd/systemd").exists() and not Path("/lib/systemd/systemd").exists():
        return "there is no systemd here"
    return None


needs_container = pytest.mark.skipif(
    unavailability_reason() is not None, reason=f"no container: {unavailability_reason()}"
)


@dataclass
class Container:
    """Container; `prepare` it, write its files below `root`, then `start` it."""

    folder: Path
    secrets: Mapping[str, str] = field(default_factory=dict)
    binds: Mapping[Path, str] = field(default_factory=dict)  # read-only: path here, path inside
    process: subprocess.Popen[bytes] | None = None
    leader: int = 0

    @property
    def root(self) -> Path:
        return self.folder / "memory/root"

    @property
    def output(self) -> Path:
        return self.folder / "output.txt"

    def prepare(self) -> None:
        """Mount the overlay; skips the test where the kernel refuses."""
        memory = self.folder / "memory"
        memory.mkdir()
        self._mount("-t", "tmpfs", "tmpfs", str(memory))
        layers = {name: memory / name for name in ("root", "upper", "work")}
        for layer in layers.values():
            layer.mkdir()
        below = os.environ.get("BARNABEE_BOOT_ROOT", "/")
        options = f"lowerdir={below},upperdir={layers['upper']},workdir={layers['work']}"
        self._mount("-t", "overlay", "overlay", "-o", options, str(layers["root"]))
        (self.root / "etc/machine-id").write_text("", encoding="utf-8")
        for noisy in ("timers.target", "systemd-networkd-wait-online.service"):
            self.link(f"/etc/systemd/system/{noisy}", "/dev/null")
        self.write("/etc/systemd/system/proof.target", TARGET)

    def _mount(self, *arguments: str) -> None:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"the kernel refuses a mount: {done.stderr.strip()}")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        """Write a file inside the container."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)  # a link, as of a masked unit, would lead outside
        file.write_text(text, encoding="utf-8")
        file.chmod(mode)

    def link(self, path: str, target: str) -> None:
        """Create a symbolic link inside the container."""
        file = self.root / path.lstrip("/")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.unlink(missing_ok=True)
        file.symlink_to(target)

    def start(self) -> None:
        """Boot; skips the test when PID 1 does not start."""
        command = [NSPAWN, "--register=no", "--keep-unit", "--private-network", "--console=pipe"]
        command += [f"--directory={self.root}", "--machine=barnabee-proof"]
        command += [f"--set-credential={name}:{text}" for name, text in self.secrets.items()]
        command += [f"--bind-ro={here}:{there}" for here, there in self.binds.items()]
        environment = {**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                [*command, "--boot", "--", "--unit=proof.target"],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
            )
        deadline = time.monotonic() + START_LIMIT_S
        while not self._is_up():
            if self.process.poll() is not None or time.monotonic() > deadline:
                output_text = self.output.read_text(errors="replace").strip()[-500:]
                pytest.skip(f"no systemd could be booted: {output_text}")
            time.sleep(0.1)

    def _is_up(self) -> bool:
        assert self.process
        if self.process.poll() is not None:
            return False
        children = psutil.Process(self.process.pid).children()
        self.leader = children[0].pid if children else 0
        return (
            bool(children) and self.run("systemctl", "show", "--property=Version").returncode == 0
        )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run a command inside as root."""
        inside = ["nsenter", f"--target={self.leader}", "--all", *command]
        return subprocess.run(inside, capture_output=True, text=True, check=False, timeout=120)

    def show(self, unit: str, name: str) -> str:
        """Return a property of a unit, or of systemd when `unit` is empty."""
        units = [unit] if unit else []
        return self.run("systemctl", "show", "--value", f"--property={name}", *units).stdout.strip()

    def is_active(self, unit: str) -> bool:
        return self.show(unit, "ActiveState") == "active"

    def journal(self, unit: str, lines: int = 25) -> str:
        """Return the last log lines of a unit."""
        return self.run("journalctl", "-b", "--no-pager", "-n", str(lines), "-u", unit).stdout

    def wait_until(self, condition: Callable[[], bool], within_s: float) -> float | None:
        """Wait for a condition; return the seconds that took, or None on a timeout."""
        started = time.monotonic()
        while not condition():
            if time.monotonic() - started > within_s:
                return None
            time.sleep(0.1)
        return time.monotonic() - started

    def stop(self) -> None:
        """Shut down and unmount the overlay."""
        if self.process is not None:
            self.process.terminate()  # nspawn asks its PID 1 to power off
            try:
                self.process.wait(timeout=LAST_RESORT_S)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        for mount in (self.root, self.folder / "memory"):
            subprocess.run(["umount", "--lazy", str(mount)], capture_output=True, check=False)

"""A real machine: NixOS with systemd, as root."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from barnabee.deploy import executor, systemd
from barnabee.deploy import facts as facts_module
from barnabee.deploy.bootloader import Loader
from barnabee.deploy.command import must, run
from barnabee.deploy.errors import StepFailed
from barnabee.deploy.facts import Data, Facts, Limits
from barnabee.deploy.journal import PinRef
from barnabee.deploy.machine import Live

WATCH = "barnabee-deploy-watch"
_ARM_S = 20.0
_UNITS_FAILED = 4  # switch-to-configuration: activated, but units failed; the check decides then
_EFI = Path("sys/firmware/efi/efivars")
_COUNTED = (
    "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"  # systemd-boot's own vendor id
)


@dataclass(frozen=True)
class NixosMachine:
    """The machine below `root`."""

    root: Path = Path("/")

    @property
    def profile_link(self) -> Path:
        """Return the profile of the system."""
        return self.root / "nix/var/nix/profiles/system"

    @property
    def loader(self) -> Loader:
        """Return the boot loader."""
        return Loader(self.profile_link, self.root / _EFI)

    def live(self) -> Live:
        """Return kernel, driver and boot."""
        return Live(
            boot_id=self._boot_id(),
            kernel=os.uname().release,
            driver=_text(self.root / "sys/module/nvidia/version"),
            container=(self.root / "run/systemd/container").exists(),
            counted=(self.root / _EFI / _COUNTED).exists(),
        )

    def _boot_id(self) -> str:
        """Name this boot: a container has the id of the machine beneath, but a PID 1 of its own."""
        kernel = _text(self.root / "proc/sys/kernel/random/boot_id") or ""
        first = _text(self.root / "proc/1/stat") or ""
        started = first.rpartition(")")[2].split()[19:20]  # field 22 of proc(5), after the name
        return "/".join([kernel, *started])

    def now_s(self) -> float:
        """Return the seconds since boot, sleep included."""
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def clock(self) -> str:
        """Return the date and time."""
        return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def pause(self, seconds: float) -> None:
        """Sleep."""
        time.sleep(seconds)

    def running(self) -> Path:
        """Return the system that is active."""
        return (self.root / "run/current-system").resolve()

    def profile(self) -> Path:
        """Return the system that the profile names."""
        return self.profile_link.resolve()

    def facts(self, system: Path) -> Facts | None:
        """Return what a system says of itself."""
        return facts_module.of(system)

    def is_system(self, path: Path) -> bool:
        """Return whether there is a system that can be activated."""
        return os.access(path / "bin" / "switch-to-configuration", os.X_OK)

    def schema(self, data: Data | None) -> int | None:
        """Return the schema of the database now, None without one."""
        if data is None or not Path(data.database).exists():
            return None
        uri = f"{Path(data.database).as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                return int(connection.execute("PRAGMA user_version").fetchone()[0])
        except sqlite3.Error as error:
            raise StepFailed(what=f"reading {data.database}", reason=str(error)) from error

    def pins(self, data: Data | None) -> list[PinRef]:
        """Return the moments that can be brought back, oldest first."""
        if data is None:
            return []
        from barnabee.backup import restore_points  # noqa: PLC0415 - only where there is a database

        found = restore_points.every(Path(data.database))
        return [
            PinRef(id=one.id, txid=one.txid, data_schema=one.schema, at=one.at) for one in found
        ]

    def failed_units(self) -> frozenset[str]:
        """Return the units that have failed."""
        return systemd.failed()

    def hold(self, systems: Iterable[Path]) -> None:
        """Keep exactly these from being collected as garbage."""
        roots = self.root / "nix/var/nix/gcroots/barnabee"
        roots.mkdir(parents=True, exist_ok=True)
        wanted = {system.name: system for system in systems}
        for name, system in wanted.items():
            with suppress(FileExistsError):
                (roots / name).symlink_to(system)
        for link in roots.iterdir():
            if link.name not in wanted:
                link.unlink()

    def pin(self, data: Data, reason: str, limit_s: float) -> PinRef | None:
        """Pin the database by the running system's own unit."""
        del reason  # the unit has its own
        if not Path(data.database).exists() or not systemd.exists(data.pin_unit, data.machine):
            return None
        known = {one.id for one in self.pins(data)}
        systemd.act("start", data.pin_unit, limit_s=limit_s, machine=data.machine)
        new = [one for one in self.pins(data) if one.id not in known]
        if not new:
            raise StepFailed(what=data.pin_unit, reason="it ended well, but there is no new pin")
        return new[-1]

    def restore(self, data: Data, pin: PinRef, limit_s: float) -> None:
        """Stop what writes, and put the database back."""
        systemd.act("stop", data.house, limit_s=limit_s, machine=data.machine)
        unit = f"{data.restore_unit}{pin.id}.service"
        systemd.act("start", unit, limit_s=limit_s, machine=data.machine)

    def start_house(self, data: Data) -> None:
        """Start what is to run, whatever failed before."""
        systemd.forgive("barnabee-*", data.machine)
        command = ("start", "--no-block")
        systemd.act(*command, data.house, limit_s=_ARM_S, machine=data.machine)

    def activate(self, system: Path, limit_s: float) -> str:
        """Activate without telling the boot loader."""
        systemd.forgive("barnabee-*")
        program = str(system / "bin" / "switch-to-configuration")
        done = run(program, "test", limit_s=limit_s)
        if done.status == _UNITS_FAILED:
            return f"units failed while {system.name} was activated: {done.last_line()}"
        if done.status:
            reason = f"status {done.status}: {done.last_line()}"
            raise StepFailed(what=f"activating {system.name}", reason=reason)
        return ""

    def check(self, unit: str, limit_s: float) -> str | None:
        """Run a check unit."""
        return systemd.restarted(unit, limit_s)

    def boot_by_default(self, system: Path) -> None:
        """Make `system` the profile, and tell the boot loader."""
        self.loader.by_default(system)

    def boot_once(self, system: Path, otherwise: Path) -> str:
        """Try `system` at the next boot."""
        return self.loader.once(system, otherwise)

    def reboot(self) -> None:
        """Restart."""
        systemd.act("reboot", "--no-block", limit_s=_ARM_S)

    def owner(self) -> str:
        """Return a name for whatever is running this."""
        return executor.mine()

    def owner_alive(self, name: str) -> bool:
        """Return whether that still runs."""
        return executor.alive(name)

    def end_owner(self, name: str) -> None:
        """Kill it."""
        executor.end(name)

    def arm(self, limits: Limits, program: str) -> None:
        """Have the watch run as a transient timer, which no activation touches."""
        self.disarm()
        systemd.forgive(f"{WATCH}.service")
        longest_s = 2 * limits.switch_s + limits.data_s + 4 * limits.settle_s + 60
        every = f"{limits.watch_every_s}s"
        must(
            "systemd-run",
            f"--unit={WATCH}",
            f"--on-active={every}",
            f"--on-unit-inactive={every}",
            "--timer-property=AccuracySec=1s",
            "--property=Type=oneshot",
            f"--property=TimeoutStartSec={longest_s}",
            f"--setenv={executor.UNIT}={WATCH}.service",
            "--setenv=PATH",  # a transient unit would have none with nix and systemd in it
            "--quiet",
            *(program, "deploys", "watch"),
            limit_s=_ARM_S,
        )

    def disarm(self) -> None:
        """End that; the run of the watch that may be saying so goes on to its end."""
        run("systemctl", "stop", f"{WATCH}.timer", limit_s=_ARM_S)


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None

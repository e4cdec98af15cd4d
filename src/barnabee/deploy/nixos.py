"""NixOS machine: implements `Machine` with systemd, Nix profiles and the boot loader, as root."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from barnabee.deploy import command, executor
from barnabee.deploy.bootloader import BootLoader, list_generations
from barnabee.deploy.command import CommandResult, StepFailed, run_checked, run_command
from barnabee.deploy.machine import (
    DatabaseFacts,
    DeployLimits,
    HostState,
    PinRef,
    SystemFacts,
    read_facts,
)

WATCHDOG_UNIT = "barnabee-deploy-watch"
_ARM_S = 20.0
_UNITS_FAILED = 4  # exit status of switch-to-configuration: activated, but units failed
# Beginnings of its lines about failures.
_FAILURES = (
    "Activation script snippet",
    "Failed to ",
    "Pre-switch check",
    "warning: the following units failed",
)
_REASON_MAX_CHARS = 400
_EFI = Path("sys/firmware/efi/efivars")
# An EFI variable that systemd-boot sets while it counts boots; the id is its vendor id.
_BOOT_COUNT = "LoaderBootCountPath-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f"


@dataclass(frozen=True)
class NixosMachine:
    """The machine whose file system is at `root`."""

    root: Path = Path("/")

    @property
    def profile_link(self) -> Path:
        return self.root / "nix/var/nix/profiles/system"

    @property
    def loader(self) -> BootLoader:
        return BootLoader(self.profile_link, self.root / _EFI)

    def read_state(self) -> HostState:
        return HostState(
            boot_id=self._boot_id(),
            kernel=os.uname().release,
            driver=_read_text(self.root / "sys/module/nvidia/version"),
            container=(self.root / "run/systemd/container").exists(),
            counted=(self.root / _EFI / _BOOT_COUNT).exists(),
            is_first_system=len(set(list_generations(self.profile_link).values())) < 2,  # noqa: PLR2004
        )

    def _boot_id(self) -> str:
        """Combine the boot id, which containers share with their host, with the start of PID 1."""
        kernel = _read_text(self.root / "proc/sys/kernel/random/boot_id") or ""
        stat = _read_text(self.root / "proc/1/stat") or ""
        started = stat.rpartition(")")[2].split()[19:20]  # field 22 of proc(5), after the name
        return "/".join([kernel, *started])

    def now_s(self) -> float:
        return time.clock_gettime(time.CLOCK_BOOTTIME)

    def timestamp(self) -> str:
        return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)

    def running_system(self) -> Path:
        return (self.root / "run/current-system").resolve()

    def profile_system(self) -> Path:
        return self.profile_link.resolve()

    def read_facts(self, system: Path) -> SystemFacts | None:
        return read_facts(system)

    def is_system(self, path: Path) -> bool:
        return os.access(path / "bin" / "switch-to-configuration", os.X_OK)

    def read_schema(self, data: DatabaseFacts | None) -> int | None:
        if data is None or not Path(data.database).exists():
            return None
        uri = f"{Path(data.database).as_uri()}?mode=ro"
        try:
            with closing(sqlite3.connect(uri, uri=True)) as connection:
                return int(connection.execute("PRAGMA user_version").fetchone()[0])
        except sqlite3.Error as error:
            raise StepFailed(what=f"reading {data.database}", reason=str(error)) from error

    def list_pins(self, data: DatabaseFacts | None) -> list[PinRef]:
        if data is None:
            return []
        from barnabee.backup import restore_points  # noqa: PLC0415 - only where there is a database

        points = restore_points.list_restore_points(Path(data.database))
        return [PinRef(id=p.id, txid=p.txid, data_schema=p.schema, at=p.at) for p in points]

    def list_failed_units(self) -> frozenset[str]:
        return command.list_failed_units()

    def protect_from_gc(self, systems: Iterable[Path]) -> None:
        roots = self.root / "nix/var/nix/gcroots/barnabee"
        roots.mkdir(parents=True, exist_ok=True)
        wanted = {system.name: system for system in systems}
        for name, system in wanted.items():
            with suppress(FileExistsError):
                (roots / name).symlink_to(system)
        for link in roots.iterdir():
            if link.name not in wanted:
                link.unlink()

    def pin_database(self, data: DatabaseFacts, reason: str, limit_s: float) -> PinRef | None:
        del reason  # the unit records its own
        if not Path(data.database).exists() or not command.unit_exists(data.pin_unit, data.machine):
            return None
        known = {pin.id for pin in self.list_pins(data)}
        command.control_units("start", data.pin_unit, limit_s=limit_s, machine=data.machine)
        new = [pin for pin in self.list_pins(data) if pin.id not in known]
        if not new:
            raise StepFailed(what=data.pin_unit, reason="it succeeded, but there is no new pin")
        return new[-1]

    def restore_database(self, data: DatabaseFacts, pin: PinRef, limit_s: float) -> None:
        unit = f"{data.restore_unit}{pin.id}.service"  # conflicts with the writers, and runs after
        command.control_units("start", unit, limit_s=limit_s, machine=data.machine)

    def start_services(self, data: DatabaseFacts) -> None:
        command.reset_failed("barnabee-*", data.machine)
        units = data.start or (data.services_unit,)
        command.control_units("start", "--no-block", *units, limit_s=_ARM_S, machine=data.machine)

    def activate(self, system: Path, limit_s: float) -> str:
        command.reset_failed("barnabee-*")
        program = str(system / "bin" / "switch-to-configuration")
        result = run_command(program, "test", limit_s=limit_s)
        if result.status == _UNITS_FAILED:
            return f"units failed while {system.name} was activated: {_explain_failure(result)}"
        if result.status:
            reason = f"status {result.status}: {_explain_failure(result)}"
            raise StepFailed(what=f"activating {system.name}", reason=reason)
        return ""

    def run_check(self, unit: str, limit_s: float) -> str | None:
        return command.run_oneshot(unit, limit_s)

    def set_boot_default(self, system: Path) -> None:
        self.loader.set_default(system)

    def set_boot_once(self, system: Path, otherwise: Path) -> str:
        return self.loader.set_oneshot(system, otherwise)

    def reboot(self) -> None:
        command.control_units("reboot", "--no-block", limit_s=_ARM_S)

    def current_executor(self) -> str:
        return executor.current_executor()

    def is_executor_alive(self, name: str) -> bool:
        return executor.is_executor_alive(name)

    def kill_executor(self, name: str) -> None:
        executor.kill_executor(name)

    def arm_watchdog(self, limits: DeployLimits, program: str) -> None:
        """Start a transient timer, which activations leave alone."""
        self.disarm_watchdog()
        command.reset_failed(f"{WATCHDOG_UNIT}.service")
        limit_s = 2 * limits.switch_s + limits.data_s + 4 * limits.settle_s + 60
        interval = f"{limits.watch_every_s}s"
        run_checked(
            "systemd-run",
            f"--unit={WATCHDOG_UNIT}",
            f"--on-active={interval}",
            f"--on-unit-inactive={interval}",
            "--timer-property=AccuracySec=1s",
            "--property=Type=oneshot",
            f"--property=TimeoutStartSec={limit_s}",
            f"--setenv={executor.UNIT_VARIABLE}={WATCHDOG_UNIT}.service",
            "--setenv=PATH",  # a transient unit's own lacks nix and systemd
            "--quiet",
            *(program, "deploys", "watch"),
            limit_s=_ARM_S,
        )

    def disarm_watchdog(self) -> None:
        """Stop the timer; a run that has begun, perhaps this one, is not interrupted."""
        run_command("systemctl", "stop", f"{WATCHDOG_UNIT}.timer", limit_s=_ARM_S)


def _explain_failure(result: CommandResult) -> str:
    """Return what failed in an activation, which continues after a failure, or its last line."""
    lines = [line.strip() for line in f"{result.output}\n{result.errors}".splitlines()]
    failures = [line for line in lines if line.startswith(_FAILURES)]
    return "; ".join(failures)[:_REASON_MAX_CHARS] or result.last_line()


def _read_text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return None

"""Boot loader, and the generations of a system profile (links `system-<number>-link` beside it)."""

from __future__ import annotations

import json
import re
from pathlib import Path

from barnabee.deploy.command import DeployRefused, StepFailed, run_checked, run_command

_PROFILE_S = 60.0
_LOADER_S = 180.0


class BootLoader:
    """Boot loader of a machine, configured through its profile."""

    def __init__(self, profile: Path, efi: Path = Path("/sys/firmware/efi/efivars")) -> None:
        self.profile = profile
        self._efi = efi

    def set_default(self, system: Path) -> None:
        """Make `system` the boot default."""
        self._set_profile(system)
        self._install(system)
        if self.supports_oneshot():
            run_checked("bootctl", "set-oneshot", "", limit_s=_LOADER_S)

    def set_oneshot(self, system: Path, otherwise: Path) -> str:
        """Boot `system` once and then `otherwise` again; return a note if that is unsupported.

        `otherwise` installs the boot entries, so that `system` has one without being the default:
        if it does not come up, a power cycle boots `otherwise`.
        """
        if not self.supports_oneshot():
            self.set_default(system)
            return f"this boot loader cannot boot once: {system.name} is the default until checked"
        self._set_profile(system)
        self._set_profile(otherwise)
        self._install(otherwise)
        run_checked("bootctl", "set-oneshot", self._entry(system), limit_s=_LOADER_S)
        return ""

    def supports_oneshot(self) -> bool:
        """Return whether this is systemd-boot on a firmware with EFI variables."""
        if not self._efi.is_dir():
            return False
        try:
            return run_command("bootctl", "is-installed", limit_s=_LOADER_S).status == 0
        except StepFailed:  # there is no bootctl
            return False

    def _set_profile(self, system: Path) -> None:
        if self.profile.resolve() == system:
            return
        number = find_generation(self.profile, system)
        change = ("--set", str(system)) if number is None else ("--switch-generation", str(number))
        run_checked("nix-env", "--profile", str(self.profile), *change, limit_s=_PROFILE_S)

    def _install(self, system: Path) -> None:
        run_checked(str(system / "bin" / "switch-to-configuration"), "boot", limit_s=_LOADER_S)

    def _entry(self, system: Path) -> str:
        text = run_checked("bootctl", "list", "--json=short", limit_s=_LOADER_S)
        for entry in json.loads(text):
            if f"init={system}/init" in str(entry.get("options", "")).split():
                return str(entry["id"])
        raise StepFailed(what="the boot loader", reason=f"no entry for {system.name}")


def list_generations(profile: Path) -> dict[int, Path]:
    """Return the existing generations by number, oldest first."""
    pattern = re.compile(rf"{re.escape(profile.name)}-(\d+)-link")
    generations = {}
    for link in profile.parent.glob(f"{profile.name}-*-link"):
        match = pattern.fullmatch(link.name)
        if match and link.exists():
            generations[int(match[1])] = link.resolve()
    return dict(sorted(generations.items()))


def find_generation(profile: Path, system: Path) -> int | None:
    """Return the number of the newest generation that is `system`."""
    numbers = [number for number, one in list_generations(profile).items() if one == system]
    return numbers[-1] if numbers else None


def choose_generation(
    profile: Path, running: Path, requested: int | None, last_kept: Path | None
) -> Path:
    """Return the requested generation, or the one that a rollback without a number returns to.

    That is the last healthy system, else the newest generation before the running one, else the
    newest other one. DeployRefused when there is none.
    """
    generations = list_generations(profile)
    if requested is not None:
        if requested not in generations:
            known = ", ".join(map(str, generations)) or "none"
            raise DeployRefused(reason=f"there is no generation {requested}; there are {known}")
        return generations[requested]
    if last_kept is not None and last_kept != running:
        return last_kept
    others = {number: system for number, system in generations.items() if system != running}
    current = find_generation(profile, running)
    earlier = [system for number, system in others.items() if current and number < current]
    if not others:
        raise DeployRefused(reason="there is no other generation to roll back to")
    return (earlier or list(others.values()))[-1]

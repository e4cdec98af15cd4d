"""The profile of a machine and its boot loader."""

from __future__ import annotations

import json
from pathlib import Path

from barnabee.deploy import generations
from barnabee.deploy.command import must, run
from barnabee.deploy.errors import StepFailed

_PROFILE_S = 60.0
_LOADER_S = 180.0


class Loader:
    """What is booted next, and after that."""

    def __init__(self, profile: Path, efi: Path = Path("/sys/firmware/efi/efivars")) -> None:
        """Remember where they are."""
        self.profile = profile
        self._efi = efi

    def by_default(self, system: Path) -> None:
        """Boot `system` from now on."""
        self._set_profile(system)
        self._install(system)
        if self.can_try_once():
            must("bootctl", "set-oneshot", "", limit_s=_LOADER_S)

    def once(self, system: Path, otherwise: Path) -> str:
        """Boot `system` next and then `otherwise` again; as far as it can, and say so.

        The loader is told by `otherwise`, so that `system` gets an entry and is never the default:
        if it does not come up, switching the machine off and on leads back.
        """
        if not self.can_try_once():
            self.by_default(system)
            return f"this boot loader cannot try once: {system.name} is booted until the gate acts"
        self._set_profile(system)
        self._set_profile(otherwise)
        self._install(otherwise)
        must("bootctl", "set-oneshot", self._entry(system), limit_s=_LOADER_S)
        return ""

    def can_try_once(self) -> bool:
        """Return whether this is systemd-boot on a firmware that remembers."""
        if not self._efi.is_dir():
            return False
        try:
            return run("bootctl", "is-installed", limit_s=_LOADER_S).status == 0
        except StepFailed:  # there is no bootctl
            return False

    def _set_profile(self, system: Path) -> None:
        if self.profile.resolve() == system:
            return
        number = generations.number_of(self.profile, system)
        change = ("--set", str(system)) if number is None else ("--switch-generation", str(number))
        must("nix-env", "--profile", str(self.profile), *change, limit_s=_PROFILE_S)

    def _install(self, system: Path) -> None:
        must(str(system / "bin" / "switch-to-configuration"), "boot", limit_s=_LOADER_S)

    def _entry(self, system: Path) -> str:
        text = must("bootctl", "list", "--json=short", limit_s=_LOADER_S)
        for entry in json.loads(text):
            if f"init={system}/init" in str(entry.get("options", "")).split():
                return str(entry["id"])
        raise StepFailed(what="the boot loader", reason=f"it has no entry for {system.name}")

"""The first time: erase a machine that runs the NixOS installer, and install a host on it.

As commands, so that they can be read before anything is erased. The specification calls this
deploy-initial.sh.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable
from dataclasses import dataclass

from barnabee.deploy import transient_unit
from barnabee.deploy.command import must
from barnabee.deploy.errors import DeployRefused

_BUILD_S = 4 * 3600.0
_COPY_S = 2 * 3600.0
_DISK_S = 1800.0
_ASK_S = 60.0
_SSH = ("ssh", "-o", "BatchMode=yes", "-o", "ConnectTimeout=10")


@dataclass(frozen=True)
class Plan:
    """What is done for one host; `disk` is what whoever asks agrees to have erased."""

    host: str
    address: str
    flake: str
    disk: str

    def attribute(self, what: str) -> str:
        """Return an attribute of the host's configuration."""
        return f"{self.flake.partition('#')[0]}#nixosConfigurations.{self.host}.config.{what}"

    def ask_disk(self) -> tuple[str, ...]:
        """Return how the flake is asked which disk the host is installed to."""
        return ("nix", *transient_unit.FLAKES, "eval", "--raw", self.attribute("barnabee.disk"))

    def build(self, what: str) -> tuple[str, ...]:
        """Return how a part of the host is built, here."""
        attribute = self.attribute(f"system.build.{what}")
        return ("nix", *transient_unit.FLAKES, "build", "--no-link", "--print-out-paths", attribute)

    def copy(self, path: str, *, mounted: bool) -> tuple[str, ...]:
        """Return how something gets there: to the installer, or onto the disk, which has room."""
        store = "?remote-store=local%3Froot=/mnt" if mounted else ""
        to = f"ssh-ng://{self.address}{store}"
        return (
            "nix",
            *transient_unit.FLAKES,
            "copy",
            "--substitute-on-destination",
            "--to",
            to,
            path,
        )

    def there(self, *command: str) -> tuple[str, ...]:
        """Return a command on the machine."""
        return (*_SSH, self.address, shlex.join(command))

    def commands(self) -> list[tuple[tuple[str, ...], float]]:
        """Return all of it with limits in seconds; DISKO and SYSTEM stand for what was built."""
        return [
            (self.copy("DISKO", mounted=False), _COPY_S),
            (self.there("DISKO"), _DISK_S),
            (self.copy("SYSTEM", mounted=True), _COPY_S),
            (
                self.there(
                    "nixos-install", "--no-root-passwd", "--no-channel-copy", "--system", "SYSTEM"
                ),
                _DISK_S,
            ),
        ]

    def text(self) -> list[str]:
        """Return all of it for a person, nothing being done."""
        builds = (self.ask_disk(), self.build("diskoScript"), self.build("toplevel"))
        return [shlex.join(one) for one in (*builds, *(one for one, _ in self.commands()))]


def install(plan: Plan, tell: Callable[[str], None]) -> None:
    """Do it. DeployRefused, before anything is touched, when it would erase another disk."""
    disk = must(*plan.ask_disk(), limit_s=_ASK_S * 5).strip()
    if disk != plan.disk:
        named = plan.disk or "nothing"
        raise DeployRefused(reason=f"--erase names {named}, but barnabee.disk of it is {disk}")
    built = {}
    for name, what in (("DISKO", "diskoScript"), ("SYSTEM", "toplevel")):
        tell(f"building {what} of {plan.host}")
        out = must(*plan.build(what), limit_s=_BUILD_S).strip()
        built[name] = out.splitlines()[-1]
    for command, limit_s in plan.commands():
        ready = tuple(_put_in(word, built) for word in command)
        tell(shlex.join(ready))
        must(*ready, limit_s=limit_s)
    tell(f"{plan.host} is installed: give it its secrets, then restart it (docs/operations.md)")


def _put_in(word: str, built: dict[str, str]) -> str:
    for name, path in built.items():
        word = word.replace(name, path)
    return word

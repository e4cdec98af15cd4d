"""The small files by which the keeper of the lease, systemd and people talk to each other.

`runtime` goes with the keeper; `state` outlasts it. Each file is written whole or not at all.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from barnabee.standby.roles import Sign, Wish

_WISH = "wish"
_UNSURE = "released-unheard"
_SERVED = "served"
_ASIDE = "aside"  # the road of the house's address: keepalived looks at it
_STATUS = "status.json"


@dataclass(frozen=True)
class Notes:
    """The directories of one keeper."""

    runtime: Path
    state: Path

    def wish(self, default: Wish) -> Wish:
        """Return what this machine is to be."""
        try:
            return Wish((self.state / _WISH).read_text(encoding="ascii").strip())
        except (FileNotFoundError, ValueError):
            return default

    def set_wish(self, wish: Wish) -> None:
        """Say what this machine is to be from now on."""
        _write(self.state / _WISH, wish.value)

    @property
    def unsure(self) -> bool:
        """Return whether a "released" was sent that nobody may have heard."""
        return (self.state / _UNSURE).exists()

    def set_unsure(self, unsure: bool) -> None:
        """Remember that across lives."""
        _there(self.state / _UNSURE, unsure)

    @property
    def served(self) -> bool:
        """Return whether the services ran here at last."""
        return (self.state / _SERVED).exists()

    @property
    def stands_aside(self) -> bool:
        """Return whether the house's address is to be left to the other machine."""
        return (self.state / _ASIDE).exists()

    def stand_aside(self, aside: bool) -> None:
        """Leave the house's address to the other machine, or no longer."""
        _there(self.state / _ASIDE, aside)

    def show(self, signs: Collection[Sign]) -> None:
        """Make exactly these signs be there."""
        for sign in Sign:
            if sign not in signs:  # first what must end
                _there(self.runtime / sign.value, False)
        _there(self.state / _SERVED, Sign.SERVE in signs)
        for sign in signs:
            _there(self.runtime / sign.value, True)

    def shown(self) -> frozenset[Sign]:
        """Return the signs that are there."""
        return frozenset(sign for sign in Sign if (self.runtime / sign.value).exists())

    def tell(self, status: Mapping[str, Any]) -> None:
        """Write down how things are, for people and for the follower."""
        _write(self.runtime / _STATUS, json.dumps(status))

    def told(self) -> dict[str, Any]:
        """Return how things are; empty when nobody has said."""
        try:
            found = json.loads((self.runtime / _STATUS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}


def _there(file: Path, there: bool) -> None:
    if there and not file.exists():
        file.touch(mode=0o644)
    elif not there:
        file.unlink(missing_ok=True)


def _write(file: Path, text: str) -> None:
    draft = file.with_name(f".{file.name}")
    draft.write_text(text, encoding="utf-8")
    draft.replace(file)

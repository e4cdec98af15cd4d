"""Roles of a machine in a pair, and the files through which keeper, systemd and CLI exchange them.

A role is a file in the keeper's runtime directory, watched by systemd path units
(nixos/modules/standby.nix). systemd removes that directory when the keeper ends for any reason; the
state directory persists.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from barnabee.core.files import write_atomically

_DESIRED_ROLE = "wish"
_RELEASE_UNCONFIRMED = "released-unheard"
_SERVED = "served"
_ADDRESS_YIELDED = "aside"  # keepalived tracks it
_STATUS = "status.json"


class Role(StrEnum):
    """Role in effect; the value is the name of the file that publishes it."""

    SERVE = "serve"  # the services run on this machine
    HOLD = "hold"  # the database is replicated from this machine
    FOLLOW = "follow"  # the database is copied from the other machine's replica
    ADDRESS = "address"  # keepalived may assign the virtual IP to this machine


class DesiredRole(StrEnum):
    """Role that the configuration or an operator asks for."""

    HOLD = "hold"
    FOLLOW = "follow"


@dataclass(frozen=True)
class RoleInputs:
    """Facts from which the roles are decided."""

    desired: DesiredRole
    holds_lease: bool  # with enough time left for an orderly stop
    superseded: bool  # another machine has held the lease since this one did
    store_answered: bool  # at least once since the keeper started
    was_serving: bool  # the services run here now, or did when the previous keeper ended
    may_have_address: bool  # no other machine holds the lease, and the address is not yielded


def decide_roles(inputs: RoleInputs) -> frozenset[Role]:
    """Return the roles to take; SERVE and FOLLOW exclude each other."""
    address = {Role.ADDRESS} if inputs.may_have_address else set()
    if inputs.desired is DesiredRole.HOLD and inputs.holds_lease:
        return frozenset({Role.SERVE, Role.HOLD, Role.ADDRESS})
    if inputs.store_answered and (inputs.desired is DesiredRole.FOLLOW or inputs.superseded):
        return frozenset({Role.FOLLOW} | address)
    if inputs.desired is DesiredRole.HOLD and inputs.was_serving:
        # No other machine can acquire the lease while the store is unreachable: commands are
        # answered, and database writes wait in the queue.
        return frozenset({Role.SERVE, Role.ADDRESS})
    return frozenset()


@dataclass(frozen=True)
class StateFiles:
    """Files of one machine's keeper; each is replaced atomically."""

    runtime: Path
    state: Path

    def read_desired_role(self, default: DesiredRole) -> DesiredRole:
        try:
            return DesiredRole((self.state / _DESIRED_ROLE).read_text(encoding="ascii").strip())
        except (FileNotFoundError, ValueError):
            return default

    def write_desired_role(self, desired: DesiredRole) -> None:
        write_atomically(self.state / _DESIRED_ROLE, desired.value)

    @property
    def release_unconfirmed(self) -> bool:
        """Whether a release was sent for which no acknowledgement arrived."""
        return (self.state / _RELEASE_UNCONFIRMED).exists()

    def set_release_unconfirmed(self, unconfirmed: bool) -> None:
        _set_flag(self.state / _RELEASE_UNCONFIRMED, unconfirmed)

    @property
    def was_serving(self) -> bool:
        """Whether SERVE was among the roles published last, also by an earlier keeper."""
        return (self.state / _SERVED).exists()

    @property
    def is_address_yielded(self) -> bool:
        """Whether the virtual IP is left to the other machine."""
        return (self.state / _ADDRESS_YIELDED).exists()

    def set_address_yielded(self, yielded: bool) -> None:
        _set_flag(self.state / _ADDRESS_YIELDED, yielded)

    def publish_roles(self, roles: Collection[Role]) -> None:
        """Create the files of `roles`, after removing those of all other roles."""
        for role in Role:
            if role not in roles:
                _set_flag(self.runtime / role.value, False)
        _set_flag(self.state / _SERVED, Role.SERVE in roles)
        for role in roles:
            _set_flag(self.runtime / role.value, True)

    def read_roles(self) -> frozenset[Role]:
        return frozenset(role for role in Role if (self.runtime / role.value).exists())

    def write_status(self, status: Mapping[str, Any]) -> None:
        write_atomically(self.runtime / _STATUS, json.dumps(status))

    def read_status(self) -> dict[str, Any]:
        """Return the status written last; empty when there is none."""
        try:
            status = json.loads((self.runtime / _STATUS).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return {}
        return status if isinstance(status, dict) else {}


def _set_flag(file: Path, present: bool) -> None:
    if present and not file.exists():
        file.touch(mode=0o644)
    elif not present:
        file.unlink(missing_ok=True)

"""What follows from the lease for this machine: serve, replicate, follow, or none of these.

Each is a file in the keeper's runtime directory, which systemd watches (nixos/modules/standby.nix);
when the keeper ends in whatever way, systemd takes the directory away. Pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Sign(StrEnum):
    """A file that is there or not."""

    SERVE = "serve"  # the services of the house run here
    HOLD = "hold"  # the database is replicated from here
    FOLLOW = "follow"  # what the other machine writes is fetched
    ADDRESS = "address"  # the house's address may come here (keepalived looks at it)


class Wish(StrEnum):
    """What this machine is to be, if it can."""

    HOLD = "hold"
    FOLLOW = "follow"


@dataclass(frozen=True)
class View:
    """What the keeper knows."""

    wish: Wish
    holds: bool  # with enough time left to stop in order
    superseded: bool  # another machine has written since this one did
    heard: bool  # the store has answered in this life
    served: bool  # the services run here, or did so in the last life
    free: bool  # nobody else holds the lease, and the address is not left to somebody else


def signs(view: View) -> frozenset[Sign]:
    """Return what is to be; SERVE and FOLLOW exclude each other."""
    address = {Sign.ADDRESS} if view.free else set()
    if view.wish is Wish.HOLD and view.holds:
        return frozenset({Sign.SERVE, Sign.HOLD, Sign.ADDRESS})
    if view.heard and (view.wish is Wish.FOLLOW or view.superseded):
        return frozenset({Sign.FOLLOW} | address)
    if view.wish is Wish.HOLD and view.served:
        # Nobody has taken over, and nobody can while the store is away: questions are answered,
        # and what is to be kept waits in the queue.
        return frozenset({Sign.SERVE, Sign.ADDRESS})
    return frozenset()

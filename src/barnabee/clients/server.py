"""One inference server as its callers see it, and somebody who keeps to one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import httpx

from barnabee.core.errors import DependencyDown


@dataclass(eq=False)
class Server:
    """One URL and the connections to it."""

    number: int
    url: str
    name: str  # how errors call it
    http: httpx.AsyncClient
    turns: bool = True  # False when it has no /v1/turns
    lacks_until_s: dict[str, float] = field(default_factory=dict)  # by path

    def lacks(self, path: str, now_s: float) -> bool:
        """Return whether it said of late that it does no such work."""
        return bool(self.lacks_until_s) and self.lacks_until_s.get(path, now_s) > now_s


class Lacking(DependencyDown):
    """{dependency} does not answer ({reason})."""


class Keeper:
    """Somebody who wants to stay with one server, and is told when that cannot be."""

    def __init__(self, server: Server) -> None:
        """Begin with `server`."""
        self.server = server

    @property
    def headers(self) -> Mapping[str, str]:
        """Return what its requests carry."""
        return {}

    def move(self, server: Server) -> None:
        """Stay with `server` from now on."""
        self.server = server

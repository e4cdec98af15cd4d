"""Client of the voice service for what is spoken without having been asked for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from barnabee.clients import responses
from barnabee.clients.service_client import ServiceClient

NAME = "voice"
REQUEST_LIMIT_S = 2.0


@dataclass(frozen=True, slots=True)
class RingRequest:
    """A ring for `room`, or for all rooms if that is None or not connected.

    It is dropped at `until` (Unix time in s), even if the caller does not ask for that.
    """

    ring_id: str
    text: str
    room: str | None
    until: float


@dataclass(frozen=True, slots=True)
class RingStatus:
    """What the voice knows of a ring: when it was first heard, and whether a user reacted."""

    sounded_at: datetime | None
    is_silenced: bool


@dataclass(frozen=True, slots=True)
class RingReport:
    """State of the rings by their id, and the rooms that are connected."""

    rooms: Sequence[str]
    rings: Mapping[str, RingStatus]


class VoiceClient:
    """Rings and announcements; raises Unavailable when the voice service does not answer."""

    def __init__(self, service: ServiceClient) -> None:
        self._service = service

    async def set_rings(self, rings: Collection[RingRequest]) -> RingReport:
        """Let exactly `rings` ring; one that rings already continues."""
        body = {"rings": [asdict(ring) for ring in rings]}
        found = await self._service.request_json(
            "PUT", "/v1/rings", limit_s=REQUEST_LIMIT_S, json=body
        )
        with responses.wrap_parse_errors(NAME):
            return RingReport(
                rooms=[str(room) for room in found["rooms"]],
                rings={
                    str(ring["ring_id"]): RingStatus(
                        sounded_at=_parse_time(ring["sounded_at_s"]),
                        is_silenced=bool(ring["is_silenced"]),
                    )
                    for ring in found["rings"]
                },
            )

    async def announce(
        self, text: str, rooms: Collection[str] = (), *, besides: str | None = None
    ) -> Sequence[str]:
        """Implement `understanding.interfaces.Announcer`."""
        body = {"text": text, "rooms": sorted(rooms), "besides": besides}
        found = await self._service.request_json(
            "POST", "/v1/announcements", limit_s=REQUEST_LIMIT_S, json=body
        )
        with responses.wrap_parse_errors(NAME):
            return [str(room) for room in found["rooms"]]

    async def aclose(self) -> None:
        """Close the connections."""
        await self._service.aclose()


def _parse_time(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)

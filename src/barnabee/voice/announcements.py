"""Unprompted speech: rings of timers, alarms and reminders, and announcements.

The worker states which rings are active; they sound in their room until a user reacts there. A
ring whose room is not connected sounds in all rooms. Each room speaks when it has no conversation.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from barnabee.voice.playback import make_ring_chime
from barnabee.voice.room_events import ConversationState, RoomEvent

if TYPE_CHECKING:
    from barnabee.core.schema import ScheduleConfig
    from barnabee.voice.room_session import RoomSession
    from barnabee.voice.turn import Turn

MAX_SPOKEN_RINGS = 3  # of those that begin together; the others are counted
MAX_WAITING_ANNOUNCEMENTS = 8
LOUDEST = 2


@dataclass(eq=False)
class Ring:
    """A ring, active until the worker no longer states it; times are Unix times in s."""

    ring_id: str
    text: str
    room: str | None
    until: float
    added_at: float
    sounded_at: float | None = None
    is_silenced: bool = False
    sounded_in: set[str] = field(default_factory=set)


@dataclass(frozen=True, slots=True)
class Announcement:
    """A sentence for a room, dropped if it cannot be spoken before `until`."""

    text: str
    until: float


@dataclass(eq=False)
class UnpromptedSpeech:
    """What a room speaks next; its chime comes first, then `next_text` until that is ""."""

    event: RoomEvent
    loudness: int
    next_text: Callable[[], str]
    on_audio: Callable[[], None] = lambda: None

    @property
    def is_ring(self) -> bool:
        return self.event is RoomEvent.RING_DUE

    def make_chime(self, rate_hz: int) -> bytes:
        """Return 16-bit mono PCM."""
        return make_ring_chime(rate_hz, self.loudness)


class AnnouncementBoard:
    """The rings and announcements of all rooms. Not thread-safe: used from one event loop."""

    def __init__(self, config: ScheduleConfig, clock: Callable[[], float] = time.time) -> None:
        self._config, self._clock = config, clock
        self._rooms: dict[str, RoomSession] = {}
        self._rings: dict[str, Ring] = {}
        self._announcements: dict[str, deque[Announcement]] = {}
        self._spoken: dict[str, set[Ring]] = {}  # by room, in the round that is spoken now

    # ---- rooms ----

    def attach(self, room: RoomSession) -> None:
        """Speak in `room` from now on; it replaces an earlier one of its name."""
        self._rooms[room.name] = room
        room.on_reaction = lambda: self.silence(room.name)
        room.on_turn_end(lambda turn: self._judge_turn(room.name, turn))
        self.offer(room.name)

    def detach(self, room: RoomSession) -> None:
        if self._rooms.get(room.name) is room:
            del self._rooms[room.name]
            self._spoken.pop(room.name, None)

    def offer(self, name: str) -> None:
        """Let a room speak if it has something to say and no conversation."""
        room = self._rooms.get(name)
        if room is None or room.state is not ConversationState.ASLEEP:
            return
        announcement = self._take_announcement(name)
        if announcement is not None:
            texts = iter((announcement.text,))
            room.speak(UnpromptedSpeech(RoomEvent.ANNOUNCEMENT_DUE, 0, lambda: next(texts, "")))
        elif self._active_in(name):
            self._ring(room)

    # ---- announcements ----

    def announce(self, text: str, rooms: Collection[str], besides: str | None) -> list[str]:
        """Speak `text` in those of `rooms` that are connected, or in all; return them."""
        wanted = [name for name in rooms or self._rooms if name in self._rooms and name != besides]
        until = self._clock() + self._config.announce_within_s
        for name in wanted:
            waiting = self._announcements.setdefault(name, deque(maxlen=MAX_WAITING_ANNOUNCEMENTS))
            waiting.append(Announcement(text, until))
            self.offer(name)
        return sorted(wanted)

    def _take_announcement(self, name: str) -> Announcement | None:
        waiting = self._announcements.get(name, deque())
        while waiting:
            announcement = waiting.popleft()
            if announcement.until > self._clock():
                return announcement
        return None

    # ---- rings ----

    def set_rings(self, stated: Iterable[Mapping[str, Any]]) -> list[Ring]:
        """Let exactly the stated rings be active; return them with what became of them.

        Each has the fields `ring_id`, `text`, `room` and `until`. A silenced one is remembered
        until it ends, so that it does not ring again when it is stated late.
        """
        now = self._clock()
        fields = {str(ring["ring_id"]): ring for ring in stated}
        for ring_id, ring in list(self._rings.items()):
            if ring.until <= now or (ring_id not in fields and not ring.is_silenced):
                del self._rings[ring_id]
        added = [ring_id for ring_id in fields if ring_id not in self._rings]
        for ring_id in added:
            if fields[ring_id]["until"] > now:
                self._rings[ring_id] = Ring(**fields[ring_id], added_at=now)
        self._update_rooms(has_new=bool(added))
        return [self._rings[ring_id] for ring_id in fields if ring_id in self._rings]

    def silence(self, name: str) -> None:
        """A user reacted in a room: what has sounded there rings nowhere any more."""
        for ring in self._active_in(name):
            is_spoken = ring in self._spoken.get(name, ())  # its first sound may be on its way
            ring.is_silenced = ring.is_silenced or is_spoken or name in ring.sounded_in
        self._update_rooms(has_new=False)

    def _update_rooms(self, *, has_new: bool) -> None:
        for name, room in list(self._rooms.items()):
            active = self._active_in(name)
            if not active:
                room.dispatch(RoomEvent.RING_ENDED)
            elif room.is_ringing:
                if room.turn is not None and "reply_audio" in room.turn.marks:
                    self._mark_sounded(name, active)
            elif room.state is ConversationState.ASLEEP:
                self.offer(name)
            elif has_new:  # it may be between two rings
                self._ring(room)

    def _active_in(self, name: str) -> list[Ring]:
        now = self._clock()
        return [
            ring
            for ring in self._rings.values()
            if not ring.is_silenced
            and ring.until > now
            and (ring.room == name or ring.room not in self._rooms)
        ]

    def _ring(self, room: RoomSession) -> None:
        active = self._active_in(room.name)
        age_s = self._clock() - min(ring.added_at for ring in active)
        loudness = min(LOUDEST, int(age_s // self._config.louder_after_s))
        speech = UnpromptedSpeech(
            RoomEvent.RING_DUE,
            loudness,
            next_text=lambda: self._next_ring_text(room.name),
            on_audio=lambda: self._mark_sounded(room.name, self._active_in(room.name)),
        )
        if room.speak(speech):
            self._spoken[room.name] = set()

    def _next_ring_text(self, name: str) -> str:
        spoken = self._spoken.setdefault(name, set())
        new = [ring for ring in self._active_in(name) if ring not in spoken]
        spoken.update(new)
        return join_ring_texts([ring.text for ring in new])

    def _mark_sounded(self, name: str, rings: Iterable[Ring]) -> None:
        for ring in rings:
            ring.sounded_in.add(name)
            if ring.sounded_at is None:
                ring.sounded_at = self._clock()

    def _judge_turn(self, name: str, turn: Turn) -> None:
        """Take an utterance after a ring as a reaction to it; the command has been carried out."""
        if turn.utterance:
            self.silence(name)

    def list_rooms(self) -> list[str]:
        """Return the rooms that can speak."""
        return sorted(self._rooms)


def join_ring_texts(texts: Sequence[str]) -> str:
    """Return what is said of rings that begin together. Pure."""
    said = list(texts[:MAX_SPOKEN_RINGS])
    rest = len(texts) - len(said)
    if rest:
        said.append(f"And {rest} more.")
    return " ".join(said)

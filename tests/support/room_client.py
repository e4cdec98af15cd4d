"""A client of a room as a satellite is one: its microphone never pauses."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from barnabee.audio import wav
from barnabee.audio.samples import STT_RATE_HZ, to_pcm16
from support.gpu import synthesize
from support.voice import Microphone, Samples, VoiceService, load_recording, make_silence

RATE_HZ = 24_000  # of what is received
_USER = "af_heart"
_WAKE_WORD = f"wake/hey_jarvis_{_USER}"
_FRAME = 320  # 20 ms
_ANSWERED_S = 120  # on a busy machine
_UNHEARD_S = 30
_SURELY_OPEN_S = 4  # of the time without a wake word
_INTERRUPTED_AFTER_S = 2.5
_ENDED = ("follow_up", "asleep")


@dataclass(frozen=True)
class Exchange:
    """One sentence that was said: its transcript, its traces, and the sound since its end."""

    heard: str
    trace_ids: frozenset[str]
    sound: Samples


@dataclass
class RoomClient:
    """Talks and listens; see `open_room_client`."""

    microphone: Microphone
    _pending: Samples = field(default_factory=lambda: np.zeros(0, np.int16))
    _open_since_s: float | None = None

    async def run(self) -> None:
        """Send what is to be said, else silence, in real time."""
        next_s = _now_s()
        while True:
            frame, self._pending = self._pending[:_FRAME], self._pending[_FRAME:]
            await self.microphone.socket.send(np.pad(frame, (0, _FRAME - len(frame))).tobytes())
            next_s += 0.02
            await asyncio.sleep(max(0.0, next_s - _now_s()))

    async def say(self, sentence: Samples, *, is_interrupted: bool = False) -> Exchange:
        """Say a sentence and hear the reply, or its beginning, into which the next one is said.

        The transcript is "" if nothing was understood.
        """
        known, position = await self._speak(sentence)
        with suppress(AssertionError):
            await self._wait(lambda: bool(self._list_new(known, "transcript")), _UNHEARD_S)
            if is_interrupted:
                await self.microphone.wait_for_state("speaking", _ANSWERED_S)
                wanted = len(self.microphone.received) + int(2 * RATE_HZ * _INTERRUPTED_AFTER_S)
                await self._wait(lambda: len(self.microphone.received) > wanted, _UNHEARD_S)
            else:
                await self._wait(lambda: self._has_ended(known), _ANSWERED_S)
        self._open_since_s = _now_s() if self.microphone.state == "follow_up" else None
        return self._make_exchange(known, position)

    async def hear_ring(self, name: str) -> tuple[str, Samples]:
        """Return text and sound of the ring of a timer; then no wake word is needed."""
        position = len(self.microphone.received)
        await self._wait(lambda: bool(self._list_rings(name)), _ANSWERED_S)
        await self.microphone.wait_for_state("follow_up", _ANSWERED_S)
        self._open_since_s = _now_s()
        return self._list_rings(name)[-1], self._cut(position)

    def find_text(self, kind: str, exchange: Exchange) -> str:
        """Return the text of the messages of `kind` that belong to an exchange."""
        messages = self.microphone.get_messages(kind)
        return " ".join(one["text"] for one in messages if one["trace_id"] in exchange.trace_ids)

    async def _speak(self, sentence: Samples) -> tuple[int, int]:
        """Say it, with the wake word where one is needed.

        Returns how many messages had been received before, and how many bytes of sound after it.
        """
        is_open = self._open_since_s is not None and _now_s() - self._open_since_s < _SURELY_OPEN_S
        before = [make_silence(0.2)]
        if self.microphone.state != "speaking" and not is_open:
            await self.microphone.wait_for_state("asleep", _ANSWERED_S)
            before = [make_silence(0.5), load_recording(_WAKE_WORD)]
        self._open_since_s = None
        known = len(self.microphone.messages)
        self._pending = np.concatenate((*before, sentence))
        await self._wait(lambda: not len(self._pending), _ANSWERED_S)
        return known, len(self.microphone.received)

    def _make_exchange(self, known: int, position: int) -> Exchange:
        transcripts = self._list_new(known, "transcript")
        heard = " / ".join(one["text"] for one in transcripts)
        trace_ids = frozenset(one["trace_id"] for one in transcripts)
        return Exchange(heard, trace_ids, self._cut(position))

    async def _wait(self, true: Callable[[], bool], within_s: float) -> None:
        await self.microphone.wait_until(true, within_s)

    def _has_ended(self, known: int) -> bool:
        """Return whether the last reply or error since then has been spoken."""
        new = self.microphone.messages[known:]
        ends = [number for number, one in enumerate(new) if one["type"] in {"reply", "error"}]
        after = new[ends[-1] :] if ends else []
        return any(one["type"] == "state" and one["state"] in _ENDED for one in after)

    def _list_new(self, known: int, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.microphone.messages[known:] if one["type"] == kind]

    def _list_rings(self, name: str) -> list[str]:
        messages = self.microphone.get_messages("announcement")
        return [one["text"] for one in messages if one["is_ring"] and name in one["text"]]

    def _cut(self, position: int) -> Samples:
        return self.microphone.samples[position // 2 :].copy()


def speak_as_user(http: httpx.Client, text: str) -> Samples:
    """Return `text` spoken in another voice than the assistant's, as a microphone records it."""
    spoken = wav.parse(synthesize(http, text, voice=_USER), max_s=60)
    return np.frombuffer(to_pcm16(wav.decode(spoken, STT_RATE_HZ)), np.int16)


@asynccontextmanager
async def open_room_client(voice: VoiceService, room: str, token: str) -> AsyncIterator[RoomClient]:
    """Connect the client of a room."""
    async with voice.talk(room, token) as microphone:
        client = RoomClient(microphone)
        running = asyncio.create_task(client.run())
        try:
            yield client
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


def _now_s() -> float:
    return asyncio.get_running_loop().time()

"""Stage 3: sound becomes words.

What was said up to a pause is transcribed before it is certain that it was all, and helps to find
that out; if the person goes on, that is thrown away.
"""

from __future__ import annotations

import asyncio
import io
import wave
from collections.abc import Callable
from typing import TYPE_CHECKING

from pipecat.frames.frames import Frame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from barnabee.core.errors import BadInput, BarnabeeError, Unavailable
from barnabee.voice.conversation import Event, State
from barnabee.voice.frames import Done, GoesOn, Reply, Utterance, Words
from barnabee.voice.text import addressed

if TYPE_CHECKING:
    from barnabee.clients.gpu import GpuClient
    from barnabee.voice.latency_estimator import Estimate
    from barnabee.voice.room_session import Room
    from barnabee.voice.turn import Turn

RATE_HZ = 16_000


class Hear(FrameProcessor):
    """Asks the inference service what was said."""

    def __init__(
        self,
        room: Room,
        gpu: GpuClient,
        estimate: Estimate,
        wake_words: tuple[str, ...],
        guessed: Callable[[Turn, str], None],
        *,
        keep_sound: bool = False,
    ) -> None:
        """Begin with nothing heard; `keep_sound` leaves what was said with its turn.

        `guessed` is told what was said up to a pause, as soon as it is known.
        """
        super().__init__(name=f"hear-{room.name}")
        self._room, self._gpu, self._estimate = room, gpu, estimate
        self._wake_words, self._keep_sound = wake_words, keep_sound
        self._guessed = guessed
        self._guess: asyncio.Task[str | BarnabeeError] | None = None
        self._settling: asyncio.Task[None] | None = None

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Handle one frame."""
        await super().process_frame(frame, direction)
        if isinstance(frame, Utterance):
            self._take_back()
            if self._keep_sound:
                frame.turn.sound = frame.pcm
            self._guess = frame.turn.spawn(self._transcribe(frame.turn, frame.pcm))
        elif isinstance(frame, GoesOn):
            self._take_back()
            await self.push_frame(frame)
        elif isinstance(frame, Done):
            if self._guess is not None and self._guess.done():
                frame.turn.mark("heard")  # whoever looks for a filler knows that this is done
            await self.push_frame(frame)
            if self._guess is not None:
                self._settling = frame.turn.spawn(self._settle(frame.turn, self._guess))
            else:
                self._room.tell(Event.WORDLESS, frame.turn)
        else:
            await self.push_frame(frame, direction)

    def _take_back(self) -> None:
        for task in (self._guess, self._settling):
            if task is not None:
                task.cancel()
        self._guess = self._settling = None

    async def _transcribe(self, turn: Turn, pcm: bytes) -> str | BarnabeeError:
        begun_s = turn.clock()
        try:
            heard = await self._gpu.transcribe(as_wav(pcm))
        except (Unavailable, BadInput) as error:
            return error
        turn.engine = heard.engine
        self._estimate.learn("stt", (turn.clock() - begun_s) * 1000)
        self._guessed(turn, addressed(heard.text, self._wake_words))
        return heard.text

    async def _settle(self, turn: Turn, guess: asyncio.Task[str | BarnabeeError]) -> None:
        found = await guess
        if self._room.state is not State.THINKING:  # the person goes on, and `GoesOn` is on its way
            return
        self._guess = None
        turn.mark("heard")
        if isinstance(found, BarnabeeError):
            self._room.tell(Event.UNDERSTOOD, turn)  # as far as it will be
            self._room.fail(found, turn)
            await self.push_frame(Reply(turn, trouble="deaf"))
            return
        turn.utterance = addressed(found, self._wake_words)
        if not turn.utterance:
            self._room.tell(Event.WORDLESS, turn)
            return
        self._room.say("transcript", text=turn.utterance, trace_id=turn.trace_id)
        self._room.tell(Event.UNDERSTOOD, turn)
        await self.push_frame(Words(turn, turn.utterance))


def as_wav(pcm: bytes) -> bytes:
    """Return int16 mono 16 kHz sound as a WAV file. Pure."""
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE_HZ)
        out.writeframes(pcm)
    return file.getvalue()

"""Stage 2: when somebody speaks, pauses, goes on, and is done.

Silero says how sure it is that a window is speech, `detect` makes signs of that, smart-turn says at
a pause whether it was the end. What was said is handed on in any case, so that it is transcribed
while nobody is sure yet whether the person goes on; `GoesOn` takes it back. Not before smart-turn
has judged, though: on two cores Whisper beside it makes it take 370 ms instead of 60.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Any

import numpy as np
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from barnabee.voice.conversation import Effect, Event, State
from barnabee.voice.detect import WINDOW, WINDOW_MS, Detector, Sign
from barnabee.voice.echo import Echo
from barnabee.voice.ends import Ends
from barnabee.voice.frames import Done, GoesOn, Utterance
from barnabee.voice.room import Room
from barnabee.voice.silero import Confidence
from barnabee.voice.turn import Turn

BYTES = WINDOW * 2
# A button is let go of a little early, and its message overtakes sound that is still on its way.
AFTERWARDS = 6  # windows: 192 ms
AFTERWARDS_MOST_S = 0.4


class Listen(FrameProcessor):
    """Makes utterances out of sound; the sound itself ends here."""

    def __init__(self, room: Room, confidence: Confidence, ends: Ends, echo: Echo) -> None:
        """Begin with nobody speaking."""
        super().__init__(name=f"listen-{room.name}")
        self._room, self._confidence, self._ends, self._echo = room, confidence, ends, echo
        self._detector = Detector(room.talk)
        self._rest = b""
        self._sound = bytearray()  # of the utterance, and a little before it
        self._judging: asyncio.Task[Any] | None = None
        self._finished: Turn | None = None
        self._handed_on = False  # what was said up to this pause
        self._windows = 0
        self._heard_more = asyncio.Event()
        room.on(Effect.BEGIN, self._begin)
        room.on(Effect.CUT, self._cut)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Handle one frame."""
        await super().process_frame(frame, direction)
        if not isinstance(frame, InputAudioRawFrame):
            await self.push_frame(frame, direction)
            return
        self._rest += frame.audio
        while len(self._rest) >= BYTES:
            window, self._rest = self._rest[:BYTES], self._rest[BYTES:]
            await self._window(window)

    async def _window(self, window: bytes) -> None:
        samples = np.frombuffer(window, "<i2").astype(np.float32) / np.float32(32768)
        self._echo.hear(samples)
        self._windows += 1
        self._heard_more.set()
        self._sound += window
        state = self._room.state
        if self._room.turn is None or state is State.THINKING:
            self._forget()
            return
        sign = self._detector.hear(self._permille(window), careful=state is State.SPEAKING)
        if not self._detector.speech:
            self._forget()
        if sign:
            await self._act(sign)
        elif self._silent_for_good():
            await self._end_of_turn()

    def _silent_for_good(self) -> bool:
        long = self._detector.silent_ms >= self._room.talk.wait_ms
        return self._detector.paused and long and not self._room.held

    def _permille(self, window: bytes) -> float:
        permille = 1000 * self._confidence(window)
        talk = self._room.talk
        begins = not self._detector.speech and permille >= talk.speech_permille
        if begins and self._echo.possible and 1000 * self._echo.share() >= talk.echo_permille:
            return 0.0
        return permille

    def _forget(self) -> None:
        """Keep no more than what precedes an utterance, and what it takes to notice one."""
        talk = self._room.talk
        most = (talk.before_ms + max(talk.speech_ms, talk.barge_in_ms)) // WINDOW_MS * BYTES
        del self._sound[: max(0, len(self._sound) - most)]

    async def _act(self, sign: Sign) -> None:
        if sign is Sign.HINTED:
            self._room.tell(Event.HINTED)
        elif sign is Sign.DENIED:
            self._room.tell(Event.DENIED)
        elif sign is Sign.BEGAN:
            self._room.tell(Event.SPEECH)
            if self._room.turn:
                self._room.turn.mark("spoke")
        elif sign is Sign.PAUSED:
            await self._paused()
        elif sign is Sign.RESUMED:
            await self._resumed()

    async def _paused(self) -> None:
        turn = self._room.turn
        if turn is None or self._room.held:
            return
        if self._detector.voiced_ms < self._room.talk.least_ms:
            await self._end_of_turn()
            return
        self._judging = turn.spawn(self._judge(turn, bytes(self._sound)))

    async def _judge(self, turn: Turn, said: bytes) -> None:
        done = await self._ends.done(said)
        self._handed_on = True
        await self.push_frame(Utterance(turn, said))
        if done:
            await self._end_of_turn()

    async def _resumed(self) -> None:
        if self._judging:
            self._judging.cancel()
            self._judging = None
        self._handed_on = False
        if self._room.turn:
            await self.push_frame(GoesOn(self._room.turn))

    async def _end_of_turn(self) -> None:
        turn, detector = self._room.turn, self._detector
        if turn is None or turn is self._finished:
            return
        self._finished, self._judging = turn, None
        enough = detector.voiced_ms >= self._room.talk.least_ms
        turn.mark("silent", turn.clock() - detector.silent_ms / 1000)
        detector.reset()
        handed_on, self._handed_on = self._handed_on, False
        if enough:
            if not handed_on:
                await self.push_frame(Utterance(turn, bytes(self._sound)))
            turn.mark("ended")
            self._room.tell(Event.TURN_ENDED, turn)
            await self.push_frame(Done(turn))
        else:
            self._room.tell(Event.NOISE, turn)

    def _begin(self) -> None:
        """A turn begins: with its own sound from earlier on, or in the middle of speech."""
        if self._room.since_ms is not None:
            self._detector.reset()
            self._sound.clear()
            self._rest = b""

    def _cut(self) -> None:
        turn = self._room.turn
        if turn is not None:
            turn.mark("silent")  # whoever let go of the button waits from then on
            turn.spawn(self._take_all())

    async def _take_all(self) -> None:
        until = self._windows + AFTERWARDS
        with suppress(TimeoutError):
            async with asyncio.timeout(AFTERWARDS_MOST_S):
                while self._windows < until:
                    self._heard_more.clear()
                    await self._heard_more.wait()
        await self._end_of_turn()

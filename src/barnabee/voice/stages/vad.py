"""Stage 2: when somebody speaks, pauses, goes on, and is done.

Silero says how sure it is that a window is speech, `detect` makes signs of that, and `pause` says
whom to ask in a pause whether it was the end: smart-turn how it sounded, `Hear` what was said. What
was said is transcribed while nobody is sure yet whether the person goes on; `GoesOn` takes it back,
and a turn that had been taken for done as well, until its words are known.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
from pipecat.frames.frames import Frame, InputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from barnabee.voice.conversation import Effect, Event, State
from barnabee.voice.echo import Echo
from barnabee.voice.endpointing import Ask, Pause, Reads, Sounds, next_step, reads_whole
from barnabee.voice.frames import Done, GoesOn, Utterance
from barnabee.voice.room_session import Room
from barnabee.voice.silero_vad import Confidence
from barnabee.voice.turn import Turn
from barnabee.voice.turn_analyzer import Ends
from barnabee.voice.vad import WINDOW, WINDOW_MS, Detector, Sign

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
        self._pause = Pause()
        self._finished: Turn | None = None
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
        if self._detector.over and not self._room.recallable:
            self._detector.reset()  # whoever speaks now begins anew
        if self._room.turn is None or (state is State.THINKING and not self._detector.over):
            self._forget()
            return
        sign = self._detector.hear(self._permille(window), careful=state is State.SPEAKING)
        if not self._detector.speech:
            self._forget()
        if sign:
            await self._act(sign)
        await self._consider()

    def read(self, turn: Turn, text: str) -> None:
        """Take note of what was said up to the pause that runs."""
        if turn is self._room.turn and self._pause.reads is Reads.ASKED:
            reads = Reads.WHOLE if reads_whole(text) else Reads.PART
            self._pause = replace(self._pause, reads=reads)
            turn.spawn(self._consider())

    def _permille(self, window: bytes) -> float:
        permille = 1000 * self._confidence(window)
        talk = self._room.talk
        quiet = not self._detector.speech or self._detector.over
        begins = quiet and permille >= talk.speech_permille
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
            enough = self._detector.voiced_ms >= self._room.talk.least_ms
            self._pause = Pause(enough=enough, wasted=self._pause.wasted)
        elif sign is Sign.RESUMED:
            await self._resumed()

    async def _consider(self) -> None:
        """Do what is to be done next in the pause that runs, if one does."""
        turn, detector = self._room.turn, self._detector
        if turn is None or turn is self._finished or self._room.held or not detector.paused:
            return
        self._pause = replace(self._pause, silent_ms=detector.silent_ms, quiet=detector.quiet)
        ask = next_step(self._pause, self._room.talk)
        if ask is Ask.JUDGE:
            self._pause = replace(self._pause, sounds=Sounds.ASKED)
            self._judging = turn.spawn(self._judge(bytes(self._sound)))
        elif ask is Ask.TRANSCRIBE:
            self._pause = replace(self._pause, reads=Reads.ASKED)
            await self.push_frame(Utterance(turn, bytes(self._sound)))
        elif ask is Ask.END:
            await self._end_of_turn()

    async def _judge(self, said: bytes) -> None:
        sounds = Sounds.DONE if await self._ends.done(said) else Sounds.OPEN
        self._pause = replace(self._pause, sounds=sounds)
        await self._consider()

    async def _resumed(self) -> None:
        if self._judging:
            self._judging.cancel()
            self._judging = None
        self._pause = Pause(wasted=self._pause.wasted + (self._pause.reads is not Reads.UNASKED))
        turn = self._room.turn
        if turn is None:
            return
        if turn is self._finished:
            self._room.tell(Event.GOES_ON, turn)
            if self._room.state is not State.HEARING:  # it has become too long
                self._detector.reset()
                return
            self._finished = None
        await self.push_frame(GoesOn(turn))

    async def _end_of_turn(self, *, final: bool = False) -> None:
        """Hand on what was said; unless it is `final`, the person may go on all the same."""
        turn, detector = self._room.turn, self._detector
        if turn is None or turn is self._finished:
            return
        self._finished, self._judging = turn, None
        enough = detector.voiced_ms >= self._room.talk.least_ms
        turn.mark("silent", turn.clock() - detector.silent_ms / 1000)
        if enough and not final:
            detector.over = True
        else:
            detector.reset()
        if enough:
            if self._pause.reads is Reads.UNASKED:
                self._pause = replace(self._pause, reads=Reads.ASKED)
                await self.push_frame(Utterance(turn, bytes(self._sound)))
            turn.mark("ended")
            self._room.tell(Event.TURN_ENDED, turn)
            await self.push_frame(Done(turn))
        else:
            self._room.tell(Event.NOISE, turn)

    def _begin(self) -> None:
        """A turn begins: with its own sound from earlier on, or in the middle of speech."""
        self._pause = Pause()
        if self._detector.over:
            self._detector.reset()
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
        await self._end_of_turn(final=True)

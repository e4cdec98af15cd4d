"""Stage 5: the reply becomes sound, sentence by sentence, and is played no faster than it is heard.

    Speak   has it spoken, and hands on 40 ms whenever less than 80 ms are with the transport
    Sent    behind the transport: what comes through here sounds now

A recording stands in for the voice when the voice is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

import numpy as np
import soxr
from pipecat.frames.frames import (
    CancelFrame,
    EndFrame,
    Frame,
    InterruptionFrame,
    OutputAudioRawFrame,
    OutputTransportMessageUrgentFrame,
    StartFrame,
)
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

from barnabee.core.errors import BadInput, Unavailable
from barnabee.voice.conversation import Effect, Event, State
from barnabee.voice.frames import FillerFrame, GoesOn, Reply
from barnabee.voice.playback import Chunk, Kind, Mouth, chime
from barnabee.voice.text import Piece, heard_up_to, sentences

if TYPE_CHECKING:
    from barnabee.clients.gpu import GpuClient
    from barnabee.core.schema import Voice
    from barnabee.voice.echo import Echo
    from barnabee.voice.fillers import Clip
    from barnabee.voice.latency_estimator import Estimate
    from barnabee.voice.room_session import Room
    from barnabee.voice.turn import Turn

STUCK_S = 1.0  # a transport that takes nothing for so long is not connected
PAUSE_MOST_S = 1.0  # somebody who might speak is found out about well within this
FULL_FILLER = 0.6  # a filler of which less was heard was not needed
HEARD_RATE_HZ = 16_000


class Speak(FrameProcessor):
    """Plays what is to be heard in one room, and sends what is to be shown."""

    def __init__(
        self,
        room: Room,
        gpu: GpuClient,
        estimate: Estimate,
        clips: Mapping[str, Sequence[Clip]],
        voice: Voice,
        missed_ms: int,
    ) -> None:
        """Begin in silence; one that lasts for `missed_ms` should have been filled."""
        super().__init__(name=f"speak-{room.name}")
        self._room, self._gpu, self._estimate = room, gpu, estimate
        self._recordings = {clip.name: clip for kind in clips.values() for clip in kind}
        self._mouth, self._missed_ms = Mouth(voice.sample_rate_hz), missed_ms
        self._more, self._drained = asyncio.Event(), asyncio.Event()
        self._hushed = False
        self._pieces: list[Piece] = []
        self._filler_chunks = 0
        self._loops: list[asyncio.Task[None]] = []
        room.on(Effect.CHIME, self._chime)
        room.on(Effect.PAUSE, self._pause)
        room.on(Effect.RESUME, self._resume)
        room.on(Effect.HUSH, self._hush)
        room.on(Effect.THINK, self._think)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Handle one frame."""
        await super().process_frame(frame, direction)
        if isinstance(frame, FillerFrame):
            self._fill(frame)
        elif isinstance(frame, Reply):
            frame.turn.spawn(self._speak(frame))
        elif isinstance(frame, GoesOn):
            if self._mouth.has("filler"):
                self._hush()
        else:
            if isinstance(frame, StartFrame):
                self._loops = [self.create_task(self._play()), self.create_task(self._show())]
            elif isinstance(frame, EndFrame | CancelFrame):
                await self._stop()
            await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        """End the loops."""
        await self._stop()
        await super().cleanup()

    def sent(self) -> None:
        """Take note that the oldest chunk with the transport sounds now."""
        chunk = self._mouth.sent()
        self._more.set()
        if chunk is not None:
            self._sounds(chunk)
        if self._mouth.idle:
            self._drained.set()

    # ---- what is to be said ----

    async def _speak(self, reply: Reply) -> None:
        turn = reply.turn
        self._pieces = []
        if reply.trouble:
            self._record(reply.trouble)
        else:
            try:
                await self._synthesize(turn, reply.text)
            except (Unavailable, BadInput) as error:
                self._room.fail(error, turn)
                self._record("dumb_done" if reply.acted else "dumb_answer")
        await self._until_drained()
        self._room.outcome(turn, "answered")
        self._room.tell(Event.REPLIED, turn)

    async def _synthesize(self, turn: Turn, text: str) -> None:
        """Have every sentence spoken, the next one while the last is played."""
        self._pieces = [Piece(sentence) for sentence in sentences(text)]
        begun_s = turn.clock()
        for number, piece in enumerate(self._pieces):
            async with aclosing(self._gpu.speak(piece.text, format="pcm")) as sound:  # type: ignore[type-var]
                async for pcm in sound:
                    if not number and not piece.made_s:
                        self._estimate.learn("tts", (turn.clock() - begun_s) * 1000)
                        self._mouth.cut("filler")
                    self._say(pcm, piece)
            self._mouth.close("reply", piece)
            self._more.set()

    def _say(self, pcm: bytes, piece: Piece) -> None:
        self._mouth.add("reply", pcm, piece)
        self._more.set()

    def _record(self, name: str) -> None:
        """Play a recording of `trouble` in place of the reply."""
        self._mouth.cut("filler")
        clip = self._recordings.get(f"trouble_{name}")
        if clip is not None:
            self._mouth.add("reply", clip.pcm)
            self._mouth.close("reply")
            self._more.set()

    def _fill(self, frame: FillerFrame) -> None:
        if frame.turn.over or self._mouth.has("reply"):
            return
        # what is said in whole is part of the reply: nothing cuts it
        kind: Kind = "reply" if frame.whole else "filler"
        self._mouth.add(kind, frame.pcm)
        self._mouth.close(kind)
        self._filler_chunks = -(-len(frame.pcm) // self._mouth.chunk_bytes)
        self._more.set()

    async def _until_drained(self) -> None:
        self._drained.clear()
        if not self._mouth.idle:
            await self._drained.wait()

    # ---- what the room asks for ----

    def _chime(self) -> None:
        if self._room.talk.chime:
            self._mouth.add("chime", chime(self._mouth.rate_hz))
            self._mouth.close("chime")
            self._more.set()

    def _think(self) -> None:
        self._filler_chunks = 0

    def _pause(self) -> None:
        self._mouth.paused = True
        self.get_event_loop().call_later(PAUSE_MOST_S, self._resume)

    def _resume(self) -> None:
        self._mouth.paused = False
        self._more.set()

    def _hush(self) -> None:
        turn = self._room.turn
        if turn is not None and self._pieces and "voiced" in turn.marks:
            turn.heard_up_to = heard_up_to(self._pieces)
            turn.told["heard_chars"] = len(turn.heard_up_to)
            self._room.say("heard", text=turn.heard_up_to, trace_id=turn.trace_id)
        self._pieces = []
        self._hushed = True
        self._mouth.flush()
        self._more.set()

    # ---- the loudspeaker ----

    async def _play(self) -> None:
        """Hand on chunks for ever, as the transport has room for them."""
        while True:
            self._more.clear()
            if self._hushed:
                self._hushed = False
                await self.push_frame(InterruptionFrame())
            while (chunk := self._mouth.next()) is not None:
                await self.push_frame(OutputAudioRawFrame(chunk.pcm, self._mouth.rate_hz, 1))
            try:
                async with asyncio.timeout(None if self._mouth.nothing_out else STUCK_S):
                    await self._more.wait()
            except TimeoutError:
                self.sent()  # nobody hears it; the conversation goes on

    async def _show(self) -> None:
        while True:
            message = await self._room.messages.get()
            await self.push_frame(OutputTransportMessageUrgentFrame(message))

    async def _stop(self) -> None:
        loops, self._loops = self._loops, []
        for loop in loops:
            await self.cancel_task(loop)

    def _sounds(self, chunk: Chunk) -> None:
        turn = self._room.turn
        if turn is None or chunk.kind == "chime" or self._room.state is State.HEARING:
            return
        turn.mark("sounded")
        if chunk.kind == "filler":
            turn.told["filler_chunks"] = turn.told.get("filler_chunks", 0) + 1
        elif "voiced" not in turn.marks:
            turn.mark("voiced")
            self._judge_filler(turn)
            if self._room.state is State.THINKING:
                self._room.tell(Event.REPLYING, turn)

    def _judge_filler(self, turn: Turn) -> None:
        played = turn.told.pop("filler_chunks", 0)
        silence_ms = (turn.marks["voiced"] - turn.marks.get("ended", turn.marks["voiced"])) * 1000
        if played:
            verdict = "right" if played >= FULL_FILLER * self._filler_chunks else "needless"
        else:
            verdict = "missing" if silence_ms > self._missed_ms else "right"
        self._room.metrics.fillers.labels(verdict).inc()
        turn.told["filler_was"] = verdict


class Sent(FrameProcessor):
    """Sees what goes out behind the transport, and remembers it for its echo."""

    def __init__(self, speak: Speak, echo: Echo, rate_hz: int) -> None:
        """Begin with nothing sent."""
        super().__init__(name=f"sent-{speak.name}")
        self._speak, self._echo = speak, echo
        self._resample = soxr.ResampleStream(rate_hz, HEARD_RATE_HZ, 1, dtype="float32")

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        """Handle one frame."""
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputAudioRawFrame):
            samples = np.frombuffer(frame.audio, "<i2").astype(np.float32) / np.float32(32768)
            self._echo.play(self._resample.resample_chunk(samples))
            self._speak.sent()
        else:
            await self.push_frame(frame, direction)

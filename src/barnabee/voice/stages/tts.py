"""Text-to-speech stage: synthesizes the reply by sentence and plays it in real time.

It sends 40 ms chunks while the transport holds less than 80 ms; the playback monitor, behind the
transport, reports each chunk that is played. A recording is played when synthesis fails.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING

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
from barnabee.voice.frames import FillerFrame, ReplyFrame, UserResumedFrame
from barnabee.voice.playback import (
    AudioSource,
    Chunk,
    PlaybackQueue,
    ReplySegment,
    join_played_text,
    make_chime,
    split_sentences,
)
from barnabee.voice.room_events import ConversationState, Effect, RoomEvent

if TYPE_CHECKING:
    from barnabee.clients.gpu import GpuClient
    from barnabee.core.schema import VoiceConfig
    from barnabee.voice.announcements import UnpromptedSpeech
    from barnabee.voice.fillers import Clip, LatencyEstimator
    from barnabee.voice.metrics import FillerVerdict
    from barnabee.voice.room_session import RoomSession
    from barnabee.voice.turn import Turn

TRANSPORT_STALL_S = 1.0  # a transport that plays nothing for this long is not connected
MAX_PAUSE_S = 1.0  # possible speech is confirmed or denied well within this
MIN_USEFUL_FILLER_SHARE = 0.6  # a filler of which less was played was needless


class TtsStage(FrameProcessor):
    """Plays the audio of one room, and sends the messages to its client."""

    def __init__(
        self,
        room: RoomSession,
        gpu: GpuClient,
        estimator: LatencyEstimator,
        clips: Mapping[str, Sequence[Clip]],
        voice: VoiceConfig,
        *,
        max_silence_ms: int,
    ) -> None:
        """A longer silence than `max_silence_ms` without a filler counts as a missing filler."""
        super().__init__(name=f"tts-{room.name}")
        self._room, self._gpu, self._estimator = room, gpu, estimator
        self._recordings = {clip.name: clip for group in clips.values() for clip in group}
        self._queue = PlaybackQueue(voice.sample_rate_hz)
        self._max_silence_ms = max_silence_ms
        self._work, self._drained = asyncio.Event(), asyncio.Event()
        self._interrupted = False
        self._segments: list[ReplySegment] = []
        self._filler_chunks = 0
        self._loops: list[asyncio.Task[None]] = []
        room.on(Effect.PLAY_CHIME, self._play_chime)
        room.on(Effect.PAUSE_PLAYBACK, self._pause_playback)
        room.on(Effect.RESUME_PLAYBACK, self._resume_playback)
        room.on(Effect.STOP_PLAYBACK, self._stop_playback)
        room.on(Effect.AWAIT_REPLY, self._reset_filler)
        room.on(Effect.SPEAK_UNPROMPTED, self._begin_unprompted)

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, FillerFrame):
            self._play_filler(frame)
        elif isinstance(frame, ReplyFrame):
            frame.turn.spawn(self._speak_reply(frame))
        elif isinstance(frame, UserResumedFrame):
            if self._queue.has_audio("filler"):
                self._stop_playback()
        else:
            if isinstance(frame, StartFrame):
                self._loops = [
                    self.create_task(self._play()),
                    self.create_task(self._send_messages()),
                ]
            elif isinstance(frame, EndFrame | CancelFrame):
                await self._cancel_loops()
            await self.push_frame(frame, direction)

    async def cleanup(self) -> None:
        await self._cancel_loops()
        await super().cleanup()

    def on_chunk_played(self) -> None:
        """Record that the oldest chunk held by the transport is being played."""
        chunk = self._queue.mark_played()
        self._work.set()
        if chunk is not None:
            self._mark_audio(chunk)
        if self._queue.is_idle:
            self._drained.set()

    # ---- audio to be played ----

    async def _speak_reply(self, reply: ReplyFrame) -> None:
        turn = reply.turn
        self._segments = []
        if reply.trouble:
            self._play_recording(reply.trouble)
        else:
            try:
                await self._synthesize_reply(reply)
            except (Unavailable, BadInput) as error:
                self._room.report_failure(error, turn)
                has_acted = reply.has_acted or (reply.more is not None and reply.more.has_acted)
                self._play_recording("tts_failed_done" if has_acted else "tts_failed_answer")
        await self._wait_until_drained()
        self._room.set_outcome(turn, "answered")
        self._room.dispatch(RoomEvent.REPLY_FINISHED, turn)

    async def _synthesize_reply(self, reply: ReplyFrame) -> None:
        """Synthesize the reply, also while it is still being generated."""
        await self._synthesize(reply.turn, reply.text)
        if reply.more is not None:
            async for text in reply.more:
                await self._synthesize(reply.turn, text)
            if reply.more.trouble:
                self._play_recording(reply.more.trouble)

    async def _speak_unprompted(self, turn: Turn, speech: UnpromptedSpeech) -> None:
        """Play the chime, then speak; without a voice, the chime alone."""
        self._segments = []
        self._queue.enqueue("reply", speech.make_chime(self._queue.rate_hz))
        self._queue.finish("reply")
        self._work.set()
        while text := speech.next_text():
            self._room.send_message("announcement", text=text, is_ring=speech.is_ring)
            try:
                await self._synthesize(turn, text)
            except (Unavailable, BadInput) as error:
                self._room.report_failure(error, turn)
            await self._wait_until_drained()  # other rings may have begun meanwhile
        self._room.dispatch(RoomEvent.REPLY_FINISHED, turn)

    async def _synthesize(self, turn: Turn, text: str) -> None:
        """Synthesize every sentence, the next one while the last is played."""
        segments = [ReplySegment(sentence) for sentence in split_sentences(text)]
        first = None if self._segments else next(iter(segments), None)
        self._segments += segments
        started_s = turn.clock()
        for segment in segments:
            async with aclosing(self._gpu.speak(segment.text, format="pcm")) as audio:
                async for pcm in audio:
                    if segment is first and not segment.synthesized_s:
                        self._estimator.add_sample("tts", (turn.clock() - started_s) * 1000)
                        self._queue.fade_out("filler")
                    self._enqueue_reply(pcm, segment)
            self._queue.finish("reply", segment)
            self._work.set()

    def _enqueue_reply(self, pcm: bytes, segment: ReplySegment) -> None:
        self._queue.enqueue("reply", pcm, segment)
        self._work.set()

    def _play_recording(self, name: str) -> None:
        """Play the recording of `[trouble]` in place of the reply."""
        self._queue.fade_out("filler")
        clip = self._recordings.get(f"trouble_{name}")
        if clip is not None:
            self._queue.enqueue("reply", clip.pcm)
            self._queue.finish("reply")
            self._work.set()

    def _play_filler(self, frame: FillerFrame) -> None:
        if frame.turn.is_over or self._queue.has_audio("reply"):
            return
        # An uninterruptible filler is part of the reply.
        source: AudioSource = "reply" if frame.is_uninterruptible else "filler"
        self._queue.enqueue(source, frame.pcm)
        self._queue.finish(source)
        self._filler_chunks = -(-len(frame.pcm) // self._queue.chunk_bytes)
        self._work.set()

    async def _wait_until_drained(self) -> None:
        self._drained.clear()
        if not self._queue.is_idle:
            await self._drained.wait()

    # ---- effects of the room ----

    def _play_chime(self) -> None:
        if self._room.talk.chime:
            self._queue.enqueue("chime", make_chime(self._queue.rate_hz))
            self._queue.finish("chime")
            self._work.set()

    def _begin_unprompted(self) -> None:
        turn, speech = self._room.turn, self._room.unprompted
        if turn is not None and speech is not None:
            turn.spawn(self._speak_unprompted(turn, speech))

    def _reset_filler(self) -> None:
        self._filler_chunks = 0

    def _pause_playback(self) -> None:
        self._queue.is_paused = True
        self.get_event_loop().call_later(MAX_PAUSE_S, self._resume_playback)

    def _resume_playback(self) -> None:
        self._queue.is_paused = False
        self._work.set()

    def _stop_playback(self) -> None:
        turn = self._room.turn
        if turn is not None and self._segments and "reply_audio" in turn.marks:
            turn.played_text = join_played_text(self._segments)
            turn.log_fields["heard_chars"] = len(turn.played_text)
            self._room.send_message("heard", text=turn.played_text, trace_id=turn.trace_id)
        self._segments = []
        self._interrupted = True
        self._queue.clear()
        self._work.set()

    # ---- the loudspeaker ----

    async def _play(self) -> None:
        """Send chunks while the transport has room for them, until cancelled."""
        while True:
            self._work.clear()
            if self._interrupted:
                self._interrupted = False
                await self.push_frame(InterruptionFrame())
            while (chunk := self._queue.next_chunk()) is not None:
                await self.push_frame(OutputAudioRawFrame(chunk.pcm, self._queue.rate_hz, 1))
            try:
                stall_s = None if self._queue.is_transport_empty else TRANSPORT_STALL_S
                async with asyncio.timeout(stall_s):
                    await self._work.wait()
            except TimeoutError:
                self.on_chunk_played()  # not connected: continue without playback

    async def _send_messages(self) -> None:
        while True:
            message = await self._room.messages.get()
            await self.push_frame(OutputTransportMessageUrgentFrame(message))

    async def _cancel_loops(self) -> None:
        loops, self._loops = self._loops, []
        for loop in loops:
            await self.cancel_task(loop)

    def _mark_audio(self, chunk: Chunk) -> None:
        turn = self._room.turn
        if turn is None or chunk.source == "chime":
            return
        if self._room.state is ConversationState.USER_SPEAKING:
            return
        turn.mark("first_audio")
        if chunk.source == "filler":
            turn.log_fields["filler_chunks"] = turn.log_fields.get("filler_chunks", 0) + 1
        elif "reply_audio" not in turn.marks:
            turn.mark("reply_audio")
            if "turn_end" in turn.marks:
                self._judge_filler(turn)
            elif self._room.unprompted is not None:
                self._room.unprompted.on_audio()
            if self._room.state is ConversationState.THINKING:
                self._room.dispatch(RoomEvent.REPLY_STARTED, turn)

    def _judge_filler(self, turn: Turn) -> None:
        played = turn.log_fields.pop("filler_chunks", 0)
        reply_s = turn.marks["reply_audio"]
        silence_ms = (reply_s - turn.marks.get("turn_end", reply_s)) * 1000
        verdict: FillerVerdict = "right"
        if played and played < MIN_USEFUL_FILLER_SHARE * self._filler_chunks:
            verdict = "needless"
        elif not played and silence_ms > self._max_silence_ms:
            verdict = "missing"
        self._room.metrics.fillers.labels(verdict).inc()
        turn.log_fields["filler_verdict"] = verdict

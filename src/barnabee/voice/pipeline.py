"""Voice pipeline of one room: from the microphone through five stages to the loudspeaker.

    microphone -> wake word -> VAD -> STT -> command -> TTS -> loudspeaker -> playback monitor
                  (gpu)        Silero  (gpu)  api,       (gpu)
                               smart-turn     filler

Audio and text travel along the stages as Pipecat frames. The state of the room is decided by
`conversation.py`, which is pure; `room_session.py` is the shell around it, to which stages dispatch
events and from which they receive effects. A turn (`turn.py`) carries the trace id.

Each room has its own pipeline and worker. An error in a stage closes the connection of that room,
and the client reconnects; other rooms are not affected.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import numpy as np
import soxr
import structlog
from pipecat.frames.frames import ErrorFrame, Frame, OutputAudioRawFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.transports.base_transport import BaseTransport
from pipecat.workers.runner import WorkerRunner

from barnabee.clients.api import ApiClient
from barnabee.clients.gpu import GpuClient
from barnabee.clients.load_balancer import WakeServerPool
from barnabee.clients.service_client import TokenSource
from barnabee.clients.wake import WakeClient
from barnabee.core.errors import BarnabeeError
from barnabee.core.schema import System
from barnabee.voice.announcements import AnnouncementBoard
from barnabee.voice.fillers import Clip, FillerSelector, LatencyEstimator
from barnabee.voice.metrics import VoiceMetrics
from barnabee.voice.playback import EchoDetector
from barnabee.voice.room_registry import RoomSlot
from barnabee.voice.room_session import RoomSession
from barnabee.voice.stages.command import CommandStage
from barnabee.voice.stages.stt import SttStage
from barnabee.voice.stages.tts import TtsStage
from barnabee.voice.stages.vad import VadStage
from barnabee.voice.stages.wake_word import WakeWordStage
from barnabee.voice.turn_recorder import TurnRecorder
from barnabee.voice.vad import SileroPool, SpeechProbability, TurnAnalyzer

INPUT_RATE_HZ = 16_000
FINAL_MESSAGES_TIMEOUT_S = 0.5  # to send the client the reason of the disconnection

log = structlog.get_logger()


@dataclass(frozen=True)
class SharedServices:
    """Clients, models and settings that all rooms share."""

    system: System
    gpu: GpuClient
    api: ApiClient
    vad_pool: SileroPool
    turn_analyzer: TurnAnalyzer
    estimator: LatencyEstimator
    clips: Mapping[str, Sequence[Clip]]
    recorder: TurnRecorder
    metrics: VoiceMetrics
    wake_servers: WakeServerPool
    token: TokenSource
    board: AnnouncementBoard

    def make_wake_client(self, room: str) -> WakeClient:
        return WakeClient(self.wake_servers, self.token, room=room)


class PlaybackMonitor(FrameProcessor):
    """Follows the played audio behind the transport, for the queue and for echo detection."""

    def __init__(self, tts_stage: TtsStage, echo: EchoDetector, rate_hz: int) -> None:
        super().__init__(name=f"monitor-{tts_stage.name}")
        self._tts_stage, self._echo = tts_stage, echo
        self._resample = soxr.ResampleStream(rate_hz, INPUT_RATE_HZ, 1, dtype="float32")

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputAudioRawFrame):
            samples = np.frombuffer(frame.audio, "<i2").astype(np.float32) / np.float32(32768)
            self._echo.add_playback(self._resample.resample_chunk(samples))
            self._tts_stage.on_chunk_played()
        else:
            await self.push_frame(frame, direction)


def build_stages(
    shared: SharedServices,
    room: RoomSession,
    wake_client: WakeClient,
    speech_probability: SpeechProbability,
    transport: BaseTransport,
) -> tuple[list[FrameProcessor], WakeWordStage]:
    """Return all stages in order, and the first one, which receives the wake words."""
    echo = EchoDetector()
    voice, limits = shared.system.voice, shared.system.filler
    wake_words = tuple(shared.system.wake.words)
    fillers = FillerSelector(shared.clips, limits)
    is_recorded = shared.recorder.recordings.is_enabled(room.name)
    wake_stage = WakeWordStage(room, wake_client)
    vad_stage = VadStage(room, speech_probability, shared.turn_analyzer, echo)
    tts_stage = TtsStage(
        room,
        shared.gpu,
        shared.estimator,
        shared.clips,
        voice,
        max_silence_ms=limits.acknowledgment_below_ms,
    )
    stages = [
        transport.input(),
        wake_stage,
        vad_stage,
        SttStage(
            room,
            shared.gpu,
            shared.estimator,
            wake_words,
            on_transcript=vad_stage.add_transcript,
            is_recorded=is_recorded,
        ),
        CommandStage(room, shared.api, shared.gpu, shared.estimator, fillers),
        tts_stage,
        transport.output(),
        PlaybackMonitor(tts_stage, echo, voice.sample_rate_hz),
    ]
    return stages, wake_stage


async def run_conversation(
    shared: SharedServices, slot: RoomSlot, transport: BaseTransport
) -> None:
    """Run the pipeline of one room until its client disconnects or its slot is closed.

    Supervises the room: an exception is logged and closes this room only.
    """
    session = f"{slot.room}-{secrets.token_hex(4)}"

    @transport.event_handler("on_client_disconnected")
    async def on_disconnect(*_: Any) -> None:
        slot.close()

    room = RoomSession(slot.room, session, shared.system.talk, shared.metrics)

    def on_state_change(state: str) -> None:
        slot.set_state(state)
        asyncio.get_running_loop().call_soon(shared.board.offer, slot.room)

    room.on_state_change = on_state_change
    room.on_turn_end(lambda turn: shared.recorder.record(turn, room.name))
    try:
        async with AsyncExitStack() as stack:
            wake_client = await stack.enter_async_context(shared.make_wake_client(slot.room))
            speech_probability = stack.enter_context(shared.vad_pool.borrow())
            stages, wake_stage = build_stages(
                shared, room, wake_client, speech_probability, transport
            )
            await _run_pipeline(shared, room, slot, wake_stage, stages)
    except Exception:  # a supervisor: other rooms must not be affected
        log.exception("room_failed", code="internal", room=slot.room)
        slot.close(BarnabeeError())
    finally:
        await room.close()


async def _run_pipeline(
    shared: SharedServices,
    room: RoomSession,
    slot: RoomSlot,
    wake_stage: WakeWordStage,
    stages: list[FrameProcessor],
) -> None:
    rate_hz = shared.system.voice.sample_rate_hz
    worker = PipelineWorker(
        Pipeline(stages),
        params=PipelineParams(audio_in_sample_rate=INPUT_RATE_HZ, audio_out_sample_rate=rate_hz),
        enable_rtvi=False,  # the clients have a smaller protocol
        enable_turn_tracking=False,
        idle_timeout_secs=None,  # a room may be silent for hours
        check_dangling_tasks=False,
    )

    @worker.event_handler("on_pipeline_error")
    async def on_error(_worker: Any, frame: ErrorFrame) -> None:
        """Close the room: Pipecat continues after an exception in a stage."""
        if not slot.closed.is_set():
            log.error("stage_failed", code="internal", room=room.name, reason=frame.error)
            slot.close(BarnabeeError())

    # One runner for each room: a runner never releases its workers.
    runner = WorkerRunner(handle_sigint=False, check_dangling_tasks=False)
    await runner.add_workers(worker)
    rates = {"rate_in": INPUT_RATE_HZ, "rate_out": rate_hz}
    room.send_message("ready", room=room.name, session=room.session, **rates)
    room.send_message("state", state=room.state.value, turn=0)
    shared.board.attach(room)
    running = asyncio.create_task(runner.run(), name=f"room-{room.name}")
    wakes = asyncio.create_task(wake_stage.receive_wakes(), name=f"wakes-{room.name}")
    closed = asyncio.create_task(slot.closed.wait(), name=f"slot-{room.name}")
    try:
        await asyncio.wait({running, closed}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await _send_final_error(room, slot.reason)
            await worker.cancel(reason="the room closes")
        await running
    finally:
        shared.board.detach(room)
        for task in (wakes, closed, running):
            task.cancel()
        await asyncio.gather(wakes, closed, running, return_exceptions=True)


async def _send_final_error(room: RoomSession, reason: BarnabeeError | None) -> None:
    if reason is None:
        return
    room.send_message("error", **reason.body(""))
    loop = asyncio.get_running_loop()
    until_s = loop.time() + FINAL_MESSAGES_TIMEOUT_S
    while not room.messages.empty() and loop.time() < until_s:  # noqa: ASYNC110 - a queue has no event for it
        await asyncio.sleep(0.01)

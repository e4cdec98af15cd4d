"""How a microphone becomes a conversation. Read this first.

    microphone -> Gate -> Listen -> Hear -> Answer -> Speak -> loudspeaker
                   |        |        |        |         |          |
                 wake     Silero   speech    the api   text to    Sent: what
                 words    and      to text   and a     speech     sounds now
                 (gpu)    smart-   (gpu)     filler    (gpu)
                          turn

Sound and words travel along this list as Pipecat frames. What the room is doing (asleep, listening,
hearing, thinking, speaking, waiting for more) is decided in one place, `conversation.py`, which is
pure; `room.py` is the shell around it, and every stage tells it what happened and does what it is
told. A turn (`turn.py`) carries the trace id through all of it.

One room is one pipeline with one worker. Whatever breaks in it ends that room's connection, which
the client builds again; the service and the other rooms go on.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import structlog
from pipecat.frames.frames import ErrorFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.frame_processor import FrameProcessor
from pipecat.transports.base_transport import BaseTransport
from pipecat.workers.runner import WorkerRunner

from barnabee.clients.api import ApiClient
from barnabee.clients.gpu import GpuClient
from barnabee.clients.wake import WakeClient
from barnabee.clients.wake_servers import WakeServers
from barnabee.core.errors import BarnabeeError
from barnabee.core.schema import System
from barnabee.voice.echo import Echo
from barnabee.voice.fillers import Clip, Fillers
from barnabee.voice.latency_estimator import Estimate
from barnabee.voice.metrics import VoiceMetrics
from barnabee.voice.room_registry import Place
from barnabee.voice.room_session import Room
from barnabee.voice.silero_vad import Confidence, Detectors
from barnabee.voice.stages.command import Answer
from barnabee.voice.stages.stt import Hear
from barnabee.voice.stages.tts import Sent, Speak
from barnabee.voice.stages.vad import Listen
from barnabee.voice.stages.wake_word import Gate
from barnabee.voice.turn_analyzer import Ends
from barnabee.voice.turn_recorder import Keeping

HEARD_RATE_HZ = 16_000
LAST_WORDS_S = 0.5  # for the client to be told why it is left

log = structlog.get_logger()


@dataclass(frozen=True)
class House:
    """What all rooms share."""

    system: System
    gpu: GpuClient
    api: ApiClient
    detectors: Detectors
    ends: Ends
    estimate: Estimate
    clips: Mapping[str, Sequence[Clip]]
    keeping: Keeping
    metrics: VoiceMetrics
    wakes: WakeServers
    token: str

    def ear(self, room: str) -> WakeClient:
        """Return what listens for wake words in `room`."""
        return WakeClient(self.wakes, self.token, room=room)


def stages(
    house: House, room: Room, ear: WakeClient, confidence: Confidence, transport: BaseTransport
) -> tuple[list[FrameProcessor], Gate]:
    """Return the one list of stages, from the microphone to the loudspeaker."""
    echo = Echo()
    voice, limits = house.system.voice, house.system.filler
    wake_words = tuple(house.system.wake.words)
    fillers = Fillers(house.clips, limits)
    missed_ms = limits.acknowledgment_below_ms
    keep_sound = house.keeping.recordings.wanted(room.name)
    gate = Gate(room, ear)
    listen = Listen(room, confidence, house.ends, echo)
    speak = Speak(room, house.gpu, house.estimate, house.clips, voice, missed_ms)
    listed = [
        transport.input(),
        gate,
        listen,
        Hear(room, house.gpu, house.estimate, wake_words, listen.read, keep_sound=keep_sound),
        Answer(room, house.api, house.gpu, house.estimate, fillers),
        speak,
        transport.output(),
        Sent(speak, echo, voice.sample_rate_hz),
    ]
    return listed, gate


async def converse(house: House, place: Place, transport: BaseTransport) -> None:
    """Hold the conversation of one room until its client goes or its place is wanted.

    The supervisor of a room: whatever goes wrong in here is logged and ends this room alone.
    """
    session = f"{place.room}-{secrets.token_hex(4)}"

    @transport.event_handler("on_client_disconnected")
    async def gone(*_: Any) -> None:
        place.end()

    room = Room(place.room, session, house.system.talk, house.metrics)
    room.show = place.show
    room.when_over(lambda turn: house.keeping.over(turn, room.name))
    try:
        async with AsyncExitStack() as stack:
            ear = await stack.enter_async_context(house.ear(place.room))
            confidence = stack.enter_context(house.detectors.one())
            listed, gate = stages(house, room, ear, confidence, transport)
            await _run(house, room, place, gate, listed)
    except Exception:  # a supervisor: one room's fault must not reach the others
        log.exception("room_failed", code="internal", room=place.room)
        place.end(BarnabeeError())
    finally:
        await room.close()


async def _run(
    house: House, room: Room, place: Place, gate: Gate, listed: list[FrameProcessor]
) -> None:
    rate_hz = house.system.voice.sample_rate_hz
    worker = PipelineWorker(
        Pipeline(listed),
        params=PipelineParams(audio_in_sample_rate=HEARD_RATE_HZ, audio_out_sample_rate=rate_hz),
        enable_rtvi=False,  # its protocol is made for other clients; ours is smaller
        enable_turn_tracking=False,
        idle_timeout_secs=None,  # a room is quiet all night
        check_dangling_tasks=False,
    )

    @worker.event_handler("on_pipeline_error")
    async def failed(_worker: Any, frame: ErrorFrame) -> None:
        """Pipecat goes on after an exception in a stage; nobody should talk to what is left."""
        if not place.ended.is_set():
            log.error("stage_failed", code="internal", room=room.name, reason=frame.error)
            place.end(BarnabeeError())

    # A runner of its own: it keeps every worker it was ever given.
    runner = WorkerRunner(handle_sigint=False, check_dangling_tasks=False)
    await runner.add_workers(worker)
    room.say("ready", room=room.name, session=room.session, rate_in=HEARD_RATE_HZ, rate_out=rate_hz)
    room.say("state", state=room.state.value, turn=0)
    running = asyncio.create_task(runner.run(), name=f"room-{room.name}")
    wakes = asyncio.create_task(gate.wait_for_wakes(), name=f"wakes-{room.name}")
    wanted = asyncio.create_task(place.ended.wait(), name=f"place-{room.name}")
    try:
        await asyncio.wait({running, wanted}, return_when=asyncio.FIRST_COMPLETED)
        if not running.done():
            await _last_words(room, place.why)
            await worker.cancel(reason="it ends")
        await running
    finally:
        for task in (wakes, wanted, running):
            task.cancel()
        await asyncio.gather(wakes, wanted, running, return_exceptions=True)


async def _last_words(room: Room, why: BarnabeeError | None) -> None:
    if why is None:
        return
    room.say("error", **why.body(""))
    loop = asyncio.get_running_loop()
    until_s = loop.time() + LAST_WORDS_S
    while not room.messages.empty() and loop.time() < until_s:  # noqa: ASYNC110 - no event for it
        await asyncio.sleep(0.01)

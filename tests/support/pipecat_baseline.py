"""Stock Pipecat pipeline on a WebSocket: its Whisper and Kokoro services with our models and api.

The baseline of `bench/test_voice.py`, built as in Pipecat's examples of a local assistant.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from pipecat.audio.vad.silero import SileroVADAnalyzer
from pipecat.frames.frames import Frame, TranscriptionFrame, TTSSpeakFrame
from pipecat.pipeline.pipeline import Pipeline
from pipecat.pipeline.worker import PipelineParams, PipelineWorker
from pipecat.processors.audio.vad_processor import VADProcessor
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor
from pipecat.services.kokoro.tts import KokoroTTSService
from pipecat.services.whisper.stt import WhisperSTTService
from pipecat.workers.runner import WorkerRunner
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.websockets import WebSocket

from barnabee.clients.api import ApiClient
from barnabee.voice.transports.websocket import TalkSocket, make_transport
from support.asgi_server import serve_app

RATE_HZ = 24_000
VOICE = "am_michael"  # the larger part of our blend


class CommandProcessor(FrameProcessor):
    """Sends transcripts to the api, as our pipeline does."""

    def __init__(self, api: ApiClient) -> None:
        super().__init__()
        self._api = api

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, TranscriptionFrame):
            answer = await self._api.command(frame.text, "stock")
            await self.push_frame(TTSSpeakFrame(answer.reply))
        else:
            await self.push_frame(frame, direction)


@asynccontextmanager
async def run_stock_pipeline(models: Path, api_url: str, token: str) -> AsyncIterator[str]:
    """Serve the stock pipeline; yield its URL for a `Microphone`."""
    whisper = WhisperSTTService(
        device="cpu",
        compute_type="int8",
        settings=WhisperSTTService.Settings(model=str(models / "whisper-base")),
    )
    kokoro = KokoroTTSService(
        model_path=str(models / "kokoro-int8" / "model.onnx"),
        voices_path=str(models / "kokoro-int8" / "voices.npz"),
        settings=KokoroTTSService.Settings(voice=VOICE),
    )
    api = ApiClient(api_url, token, timeout_s=60)

    async def talk(plain: WebSocket) -> None:
        socket = TalkSocket(plain.scope, plain.receive, plain.send)
        await socket.accept()
        await socket.send_json({"type": "state", "state": "listening"})
        transport = make_transport(socket, lambda _error: None, RATE_HZ)
        stages: list[Any] = [
            transport.input(),
            VADProcessor(vad_analyzer=SileroVADAnalyzer()),
            whisper,
            CommandProcessor(api),
            kokoro,
            transport.output(),
        ]
        worker = PipelineWorker(
            Pipeline(stages),
            params=PipelineParams(audio_in_sample_rate=16_000, audio_out_sample_rate=RATE_HZ),
            enable_rtvi=False,
            idle_timeout_secs=None,
        )
        runner = WorkerRunner(handle_sigint=False)
        await runner.add_workers(worker)
        running = asyncio.create_task(runner.run())

        @transport.event_handler("on_client_disconnected")
        async def on_disconnect(*_: Any) -> None:
            await worker.cancel()

        await running

    app = Starlette(routes=[WebSocketRoute("/v1/talk", talk)])
    async with serve_app(app, bind="127.0.0.1") as url:
        yield url
    await api.aclose()

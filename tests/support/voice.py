"""Voice service in this process or its own, a fake api, and a WebSocket client."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tomllib
import wave
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import tomli_w
from numpy.typing import NDArray
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from barnabee.core import system
from barnabee.core.schema import System
from barnabee.core.settings import Settings, override_environment
from barnabee.voice.app import build
from barnabee.voice.metrics import VoiceMetrics
from support.asgi_server import serve_app
from support.wait import LAST_RESORT_S, eventually, find_free_port, wait_until

ROOT = Path(__file__).resolve().parents[2]
AUDIO = ROOT / "tests/audio"
TOKEN = "made-up"
FRAME = 1280  # samples, 80 ms: the frame of wake-word detection
Samples = NDArray[np.int16]


def load_recording(name: str) -> Samples:
    """Return a committed recording: mono, 16 kHz."""
    with wave.open(str(AUDIO / f"{name}.wav"), "rb") as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def make_silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * 16_000), np.int16)


@dataclass
class FakeApi:
    """Fake api with one reply; `gate` delays the reply, `refuse` replaces it."""

    reply: str = "The kitchen light is on."
    intent: str = "home_control"
    actions: list[dict[str, str]] = field(default_factory=lambda: [{"type": "entity"}])
    commands: list[dict[str, Any]] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    reports: dict[str, dict[str, Any]] = field(default_factory=dict)  # by trace id
    gate: asyncio.Event | None = None
    refuse: Callable[[], Response] | None = None

    def app(self) -> Starlette:
        routes = [
            Route("/v1/command", self._command, methods=["POST"]),
            Route("/v1/turns/{trace_id}/spoken", self._receive_report, methods=["POST"]),
            Route("/health/ready", self._ready),
        ]
        return Starlette(routes=routes)

    async def _command(self, request: Request) -> Response:
        self.commands.append(await request.json())
        self.traces.append(request.headers["traceparent"].split("-")[1])
        if self.gate is not None:
            await self.gate.wait()
        if self.refuse is not None:
            return self.refuse()
        return JSONResponse(
            {
                "reply": self.reply,
                "intent": self.intent,
                "actions": self.actions,
                "session_id": self.commands[-1]["session_id"],
                "trace_id": self.traces[-1],
                "degraded": [],
                "code": None,
                "latency_ms": {"total": 1.0},
            }
        )

    async def _receive_report(self, request: Request) -> Response:
        self.reports[request.path_params["trace_id"]] = await request.json()
        return JSONResponse({}, status_code=202)

    async def _ready(self, _request: Request) -> Response:
        report = {"status": "healthy", "service": "api", "dependencies": {}}
        return JSONResponse(report)


@dataclass
class VoiceService:
    """Running voice service."""

    url: str
    metrics: VoiceMetrics

    def talk(
        self, room: str = "kitchen", token: str = TOKEN
    ) -> AbstractAsyncContextManager[Microphone]:
        return open_microphone(self.url, room=room, token=token)

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def run_voice_service(
    gpu_url: str,
    api_url: str,
    data: Path,
    *,
    graph: System | None = None,
    token: str = TOKEN,
    bind: str = "127.0.0.1",
) -> AsyncIterator[VoiceService]:
    """Serve the real voice service."""
    metrics = VoiceMetrics("voice")
    settings = Settings.model_validate(
        {"GPU_SERVICE_URL": gpu_url, "API_URL": api_url, "BARNABEE_DATA": str(data)}
    )
    graph = graph or system.load_system(ROOT / "system.toml")
    data.mkdir(parents=True, exist_ok=True)
    (data / "api_token").write_text(token, encoding="utf-8")
    with override_environment({"CREDENTIALS_DIRECTORY": str(data)}):
        running = build(graph, settings, metrics=metrics)
    async with serve_app(running.app, bind=bind) as url:
        try:
            yield VoiceService(url, metrics)
        finally:
            assert running.before_shutdown is not None
            await running.before_shutdown()


@dataclass
class Microphone:
    """WebSocket client; stores the audio and messages it receives."""

    socket: ClientConnection
    messages: list[dict[str, Any]] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)  # 24 kHz
    last_audio_s: float = 0.0
    first_message_s: dict[str, float] = field(default_factory=dict)  # by type
    close_code: int | None = None

    async def send_audio(self, *sounds: Samples) -> None:
        """Send audio at once; the service accepts 5 s ahead of real time."""
        for sound in sounds:
            for start in range(0, len(sound), FRAME):
                await self.socket.send(sound[start : start + FRAME].tobytes())

    async def send_in_real_time(self, *sounds: Samples) -> None:
        """Send audio in real time, as a microphone does."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        for sound in sounds:
            for start in range(0, len(sound), 320):
                await self.socket.send(sound[start : start + 320].tobytes())
                next_s += 0.02
                await asyncio.sleep(max(0.0, next_s - loop.time()))

    async def send_message(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    def get_messages(self, kind: str) -> list[dict[str, Any]]:
        return [message for message in self.messages if message["type"] == kind]

    @property
    def state(self) -> str:
        return str(self.get_messages("state")[-1]["state"]) if self.get_messages("state") else ""

    async def wait_until(self, true: Callable[[], bool], within_s: float = LAST_RESORT_S) -> None:
        try:
            await wait_until(true, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; seen: {self.messages}") from error

    async def wait_for_state(self, state: str, within_s: float = LAST_RESORT_S) -> None:
        await self.wait_until(lambda: self.state == state, within_s)

    @property
    def samples(self) -> Samples:
        return np.frombuffer(bytes(self.received), "<i2")

    async def receive(self) -> None:
        try:
            while True:
                message = await self.socket.recv()
                if isinstance(message, bytes):
                    self.received += message
                    self.last_audio_s = asyncio.get_running_loop().time()
                else:
                    self.messages.append(json.loads(message))
                    now_s = asyncio.get_running_loop().time()
                    self.first_message_s.setdefault(self.messages[-1]["type"], now_s)
        except ConnectionClosed:
            self.close_code = self.socket.close_code


@asynccontextmanager
async def open_microphone(url: str, *, room: str, token: str) -> AsyncIterator[Microphone]:
    """Connect a client for a room."""
    address = f"{url.replace('http', 'ws', 1)}/v1/talk?room={room}"
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(address, additional_headers=headers, proxy=None) as socket:
        microphone = Microphone(socket)
        receiving = asyncio.create_task(microphone.receive())
        await microphone.wait_until(
            lambda: bool(microphone.messages) or microphone.close_code is not None
        )
        try:
            yield microphone
        finally:
            await socket.close()
            await receiving


@dataclass
class VoiceProcess:
    """Voice service in a process of its own (`python -m barnabee.voice`)."""

    directory: Path
    gpu_url: str
    api_url: str
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[bytes] | None = None
    environment: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = (self.directory / "voice.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def start(self) -> VoiceProcess:
        """Start the process and wait until it is ready."""
        graph = tomllib.loads((ROOT / "system.toml").read_text(encoding="utf-8"))
        graph["service"]["voice"]["port"] = self.port
        credentials = self.directory / "credentials"
        credentials.mkdir(parents=True, exist_ok=True)
        (credentials / "api_token").write_text(TOKEN, encoding="utf-8")
        (self.directory / "system.toml").write_text(tomli_w.dumps(graph), encoding="utf-8")
        environment = {
            **os.environ,
            "BARNABEE_SYSTEM": str(self.directory / "system.toml"),
            "BARNABEE_DATA": str(self.directory / "data"),
            "CREDENTIALS_DIRECTORY": str(credentials),
            "GPU_SERVICE_URL": self.gpu_url,
            "API_URL": self.api_url,
            "PYTHONPATH": str(ROOT / "src"),
            **self.environment,
        }
        with (self.directory / "voice.jsonl").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "barnabee.voice"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        await eventually(self._ready)
        return self

    async def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "voice.jsonl").read_text()
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"{self.url}/health/ready")).status_code == 200
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error

    def talk(self, room: str = "kitchen") -> AbstractAsyncContextManager[Microphone]:
        return open_microphone(self.url, room=room, token=TOKEN)

    def inspect(self) -> psutil.Process:
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Stop the process; return its exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(timeout=LAST_RESORT_S)

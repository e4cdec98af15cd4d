"""The voice service in this process, and a microphone for it."""

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
from contextlib import asynccontextmanager
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
from barnabee.core.auth import Access
from barnabee.core.schema import System
from barnabee.core.settings import Settings
from barnabee.voice.app import build
from barnabee.voice.metrics import VoiceMetrics
from support.serve import served
from support.wait import eventually, free_port, until

ROOT = Path(__file__).resolve().parents[2]
AUDIO = ROOT / "tests/audio"
TOKEN = "made-up"
FRAME = 1280  # samples of 80 ms: what wake words are looked for in
Samples = NDArray[np.int16]


def recording(name: str) -> Samples:
    """Return a committed recording: mono, 16 kHz."""
    with wave.open(str(AUDIO / f"{name}.wav"), "rb") as file:
        assert (file.getframerate(), file.getnchannels()) == (16_000, 1)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2")


def silence(seconds: float) -> Samples:
    return np.zeros(int(seconds * 16_000), np.int16)


@dataclass
class FakeApi:
    """Answers every command alike; `gate` holds the answer back, `refuse` takes its place."""

    reply: str = "The kitchen light is on."
    intent: str = "home_control"
    actions: list[dict[str, str]] = field(default_factory=lambda: [{"type": "entity"}])
    asked: list[dict[str, Any]] = field(default_factory=list)
    traces: list[str] = field(default_factory=list)
    told: dict[str, dict[str, Any]] = field(default_factory=dict)  # of each turn, how it was spoken
    gate: asyncio.Event | None = None
    refuse: Callable[[], Response] | None = None

    def app(self) -> Starlette:
        routes = [
            Route("/v1/command", self._command, methods=["POST"]),
            Route("/v1/turns/{trace_id}/spoken", self._spoken, methods=["POST"]),
            Route("/health/ready", self._ready),
        ]
        return Starlette(routes=routes)

    async def _command(self, request: Request) -> Response:
        self.asked.append(await request.json())
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
                "session_id": self.asked[-1]["session_id"],
                "trace_id": self.traces[-1],
                "degraded": [],
                "code": None,
                "latency_ms": {"total": 1.0},
            }
        )

    async def _spoken(self, request: Request) -> Response:
        self.told[request.path_params["trace_id"]] = await request.json()
        return JSONResponse({}, status_code=202)

    async def _ready(self, _request: Request) -> Response:
        report = {"status": "healthy", "service": "api", "dependencies": {}}
        return JSONResponse(report)


@dataclass
class Voice:
    """The service on a socket."""

    url: str
    metrics: VoiceMetrics

    def talk(self, room: str = "kitchen", token: str = TOKEN) -> Any:
        return talking(self.url, room=room, token=token)

    def metric(self, name: str, **labels: str) -> float:
        return self.metrics.registry.get_sample_value(name, labels) or 0.0


@asynccontextmanager
async def voice(
    gpu_url: str,
    api_url: str,
    data: Path,
    *,
    graph: System | None = None,
    token: str = TOKEN,
    bind: str = "127.0.0.1",
) -> AsyncIterator[Voice]:
    """Serve the real voice service while inside."""
    metrics = VoiceMetrics("voice")
    settings = Settings.model_validate(
        {"GPU_SERVICE_URL": gpu_url, "API_URL": api_url, "BARNABEE_DATA": str(data)}
    )
    graph = graph or system.load(ROOT / "system.toml")
    running = build(graph, settings, access=Access(token), metrics=metrics)
    async with served(running.app, bind=bind) as url:
        try:
            yield Voice(url, metrics)
        finally:
            assert running.farewell is not None
            await running.farewell()


@dataclass
class Microphone:
    """A satellite: what it hears and sees is kept."""

    socket: ClientConnection
    messages: list[dict[str, Any]] = field(default_factory=list)
    heard: bytearray = field(default_factory=bytearray)  # 24 kHz
    heard_at_s: float = 0.0  # when the last of it came
    seen_at_s: dict[str, float] = field(default_factory=dict)  # the first message of each kind
    closed: int | None = None

    async def say(self, *sounds: Samples) -> None:
        """Send sound at once; the service takes 5 s ahead of time."""
        for sound in sounds:
            for start in range(0, len(sound), FRAME):
                await self.socket.send(sound[start : start + FRAME].tobytes())

    async def say_slowly(self, *sounds: Samples) -> None:
        """Send sound as fast as it sounds, as a microphone does."""
        loop = asyncio.get_running_loop()
        next_s = loop.time()
        for sound in sounds:
            for start in range(0, len(sound), 320):
                await self.socket.send(sound[start : start + 320].tobytes())
                next_s += 0.02
                await asyncio.sleep(max(0.0, next_s - loop.time()))

    async def tell(self, **message: object) -> None:
        await self.socket.send(json.dumps(message))

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [one for one in self.messages if one["type"] == kind]

    @property
    def state(self) -> str:
        return str(self.of("state")[-1]["state"]) if self.of("state") else ""

    async def until(self, true: Callable[[], bool], within_s: float = 15) -> None:
        try:
            await until(true, within_s=within_s)
        except AssertionError as error:
            raise AssertionError(f"{error}; seen: {self.messages}") from error

    async def until_state(self, state: str, within_s: float = 15) -> None:
        await self.until(lambda: self.state == state, within_s)

    @property
    def sound(self) -> Samples:
        """What came, without the silence around it."""
        return np.frombuffer(bytes(self.heard), "<i2")

    async def _listen(self) -> None:
        try:
            while True:
                message = await self.socket.recv()
                if isinstance(message, bytes):
                    self.heard += message
                    self.heard_at_s = asyncio.get_running_loop().time()
                else:
                    self.messages.append(json.loads(message))
                    now_s = asyncio.get_running_loop().time()
                    self.seen_at_s.setdefault(self.messages[-1]["type"], now_s)
        except ConnectionClosed:
            self.closed = self.socket.close_code


@asynccontextmanager
async def talking(url: str, *, room: str, token: str) -> AsyncIterator[Microphone]:
    """Be the microphone of a room while inside."""
    address = f"{url.replace('http', 'ws', 1)}/v1/talk?room={room}"
    headers = {"Authorization": f"Bearer {token}"}
    async with connect(address, additional_headers=headers, proxy=None) as socket:
        microphone = Microphone(socket)
        listening = asyncio.create_task(microphone._listen())
        await microphone.until(lambda: bool(microphone.messages) or microphone.closed is not None)
        try:
            yield microphone
        finally:
            await socket.close()
            await listening


@dataclass
class VoiceProcess:
    """The service as a process of its own (`python -m barnabee.voice`)."""

    directory: Path
    gpu_url: str
    api_url: str
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> list[dict[str, Any]]:
        lines = (self.directory / "voice.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    async def start(self) -> VoiceProcess:
        """Start it and wait until it is ready."""
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
        }
        with (self.directory / "voice.jsonl").open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "barnabee.voice"],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        await eventually(self._ready, within_s=60)
        return self

    async def _ready(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, (self.directory / "voice.jsonl").read_text()
        try:
            async with httpx.AsyncClient(trust_env=False) as client:
                return (await client.get(f"{self.url}/health/ready")).status_code == 200
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error

    def talk(self, room: str = "kitchen") -> Any:
        return talking(self.url, room=room, token=TOKEN)

    def seen(self) -> psutil.Process:
        assert self.process is not None
        return psutil.Process(self.process.pid)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """End it; return its exit status."""
        assert self.process is not None
        self.process.send_signal(how)
        return self.process.wait(timeout=20)

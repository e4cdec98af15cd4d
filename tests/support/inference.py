"""An inference server of another make, small and fast, that says how it was used.

`python -m support.inference PORT` runs it as a process that can be killed; `app` is for a server in
the test's own process. `ours` adds what our own service has beside OpenAI's API.
"""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from support.wait import eventually, free_port

TESTS = Path(__file__).resolve().parents[1]
WIDTH = 384
CHUNKS = 5


@dataclass
class FakeInferenceServer:
    """What the server does, and what was asked of it."""

    ours: bool = True
    delay_s: float = 0.0
    width: int = WIDTH
    models: tuple[str, ...] = ("whisper-1", "tts-1", "text-embedding-3-small")
    refuse: Callable[[str], Response | None] = lambda _path: None
    asked: list[tuple[str, str]] = field(default_factory=list)  # (path, session)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    turns: dict[str, str] = field(default_factory=dict)  # id -> session, while they run
    begun: list[str] = field(default_factory=list)
    pause_s: float = 0.0  # in speech, after each chunk

    def app(self) -> Starlette:
        """Return the server."""
        routes = [
            Route("/v1/embeddings", self._embed, methods=["POST"]),
            Route("/v1/audio/transcriptions", self._hear, methods=["POST"]),
            Route("/v1/audio/speech", self._speak, methods=["POST"]),
            Route("/v1/models", self._models),
            Route("/count", self._count),
        ]
        if self.ours:
            routes += [
                Route("/health/ready", self._ready),
                Route("/v1/turns", self._begin, methods=["POST"]),
                Route("/v1/turns/{turn}", self._end, methods=["DELETE"]),
            ]
        return Starlette(routes=routes)

    def count(self, path: str = "/v1/embeddings") -> int:
        """Return how often `path` was asked."""
        return sum(one == path for one, _ in self.asked)

    async def _taken(self, request: Request) -> Response | None:
        path = request.url.path
        self.asked.append((path, request.headers.get("x-barnabee-session", "")))
        refused = self.refuse(path)
        if refused is None and self.delay_s:
            await asyncio.sleep(self.delay_s)
        return refused

    def _unknown(self, model: str) -> Response | None:
        if model in self.models:
            return None
        error = {"message": f"The model {model} does not exist", "code": "model_not_found"}
        return JSONResponse({"error": error}, 404)

    async def _embed(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        refused = await self._taken(request) or self._unknown(body["model"])
        if refused:
            return refused
        data = [
            {"index": n, "embedding": self._vector(text)} for n, text in enumerate(body["input"])
        ]
        return JSONResponse({"object": "list", "data": data})

    def _vector(self, text: str) -> str | list[float]:
        vector = [0.0] * self.width
        vector[len(text) % self.width] = 1.0 if self.ours else 4.0
        if not self.ours:
            return vector
        import numpy as np  # noqa: PLC0415 - a foreign server needs none

        return base64.b64encode(np.array(vector, "<f4").tobytes()).decode()

    async def _hear(self, request: Request) -> Response:
        form = await request.form()
        self.bodies.append({key: value for key, value in form.items() if isinstance(value, str)})
        refused = await self._taken(request) or self._unknown(str(form["model"]))
        more = {"engine": "e", "duration": 1.0, "language": "en"} if self.ours else {}
        return refused or JSONResponse({"text": "what time is it"} | more)

    async def _speak(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        refused = await self._taken(request) or self._unknown(body["model"])
        if refused is None and not self.ours and "voice" not in body:
            refused = JSONResponse({"error": {"message": "voice is required"}}, 400)
        return refused or StreamingResponse(self._chunks(), media_type="audio/pcm")

    async def _chunks(self) -> AsyncIterator[bytes]:
        for number in range(CHUNKS):
            yield bytes([number]) * 4800
            await asyncio.sleep(self.pause_s)

    async def _models(self, request: Request) -> Response:
        refused = self.refuse(request.url.path)
        rows = [{"id": one, "object": "model"} for one in self.models]
        return refused or JSONResponse({"object": "list", "data": rows})

    async def _ready(self, request: Request) -> Response:
        refused = self.refuse(request.url.path)
        return refused or JSONResponse({"status": "healthy", "dependencies": {}})

    async def _begin(self, request: Request) -> Response:
        refused = self.refuse("/v1/turns")
        if refused:
            return refused
        turn = f"t{len(self.begun)}"
        self.turns[turn] = (await request.json())["session"]
        self.begun.append(self.turns[turn])
        return JSONResponse({"id": turn}, 201)

    async def _end(self, request: Request) -> Response:
        self.turns.pop(request.path_params["turn"])
        return Response(status_code=204)

    async def _count(self, _request: Request) -> Response:
        return PlainTextResponse(str(len(self.asked)))


@dataclass
class InferenceProcess:
    """The server as a process."""

    ours: bool = True
    delay_s: float = 0.002
    pause_s: float = 0.0
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> InferenceProcess:
        """Start it and wait until it answers."""
        environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}"}
        arguments = [str(self.port), str(int(self.ours)), str(self.delay_s), str(self.pause_s)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.inference", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await eventually(self._answers, within_s=30)
        return self

    async def count(self) -> int:
        """Return how many requests it has had since it was started."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return int((await client.get(f"{self.url}/count")).text)

    def end(self, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; SIGKILL by default, and wait for the end of it."""
        assert self.process is not None
        self.process.send_signal(how)
        if how == signal.SIGKILL:
            self.process.wait()

    async def _answers(self) -> bool:
        try:
            return await self.count() >= 0
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error


def main() -> None:
    """Serve for ever."""
    import uvicorn  # noqa: PLC0415 - only the process needs it

    port, ours, delay_s, pause_s = sys.argv[1:]
    server = FakeInferenceServer(ours=bool(int(ours)), delay_s=float(delay_s), pause_s=float(pause_s))
    uvicorn.run(server.app(), host="127.0.0.1", port=int(port), log_config=None, access_log=False)


if __name__ == "__main__":
    main()

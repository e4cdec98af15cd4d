"""Fake inference server with OpenAI's API that records its requests.

`python -m support.inference PORT` runs it as a process that can be killed; `app` is for a server in
the test's own process. `ours` adds the routes that only our own service has.
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

from support.wait import eventually, find_free_port

TESTS = Path(__file__).resolve().parents[1]
WIDTH = 384
CHUNKS = 5


@dataclass
class FakeInferenceServer:
    """Behaviour of the server, and the requests it received."""

    ours: bool = True
    delay_s: float = 0.0
    width: int = WIDTH
    models: tuple[str, ...] = ("whisper-1", "tts-1", "text-embedding-3-small")
    refuse: Callable[[str], Response | None] = lambda _path: None
    requests: list[tuple[str, str]] = field(default_factory=list)  # (path, session)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    turns: dict[str, str] = field(default_factory=dict)  # id -> session, while they run
    begun: list[str] = field(default_factory=list)
    pause_s: float = 0.0  # in speech, after each chunk

    def app(self) -> Starlette:
        routes = [
            Route("/v1/embeddings", self._embed, methods=["POST"]),
            Route("/v1/audio/transcriptions", self._transcribe, methods=["POST"]),
            Route("/v1/audio/speech", self._synthesize, methods=["POST"]),
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
        """Return the number of requests for `path`."""
        return sum(requested == path for requested, _ in self.requests)

    async def _record(self, request: Request) -> Response | None:
        path = request.url.path
        self.requests.append((path, request.headers.get("x-barnabee-session", "")))
        refused = self.refuse(path)
        if refused is None and self.delay_s:
            await asyncio.sleep(self.delay_s)
        return refused

    def _refuse_unknown(self, model: str) -> Response | None:
        if model in self.models:
            return None
        error = {"message": f"The model {model} does not exist", "code": "model_not_found"}
        return JSONResponse({"error": error}, 404)

    async def _embed(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        refused = await self._record(request) or self._refuse_unknown(body["model"])
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
        import numpy as np  # noqa: PLC0415 - servers of another make need none

        return base64.b64encode(np.array(vector, "<f4").tobytes()).decode()

    async def _transcribe(self, request: Request) -> Response:
        form = await request.form()
        self.bodies.append({key: value for key, value in form.items() if isinstance(value, str)})
        refused = await self._record(request) or self._refuse_unknown(str(form["model"]))
        extra = {"engine": "e", "duration": 1.0, "language": "en"} if self.ours else {}
        return refused or JSONResponse({"text": "what time is it"} | extra)

    async def _synthesize(self, request: Request) -> Response:
        body = await request.json()
        self.bodies.append(body)
        refused = await self._record(request) or self._refuse_unknown(body["model"])
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
        return PlainTextResponse(str(len(self.requests)))


@dataclass
class InferenceProcess:
    """Process of the server."""

    ours: bool = True
    delay_s: float = 0.002
    pause_s: float = 0.0
    port: int = field(default_factory=find_free_port)
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> InferenceProcess:
        """Start the process and wait until it responds."""
        environment = {**os.environ, "PYTHONPATH": f"{TESTS}:{TESTS.parent / 'src'}"}
        arguments = [str(self.port), str(int(self.ours)), str(self.delay_s), str(self.pause_s)]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "support.inference", *arguments],
            env=environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        await eventually(self._is_up)
        return self

    async def count(self) -> int:
        """Return the number of requests since its start."""
        async with httpx.AsyncClient(trust_env=False) as client:
            return int((await client.get(f"{self.url}/count")).text)

    def stop(self, number: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal; after SIGKILL, wait for the process to end."""
        assert self.process is not None
        self.process.send_signal(number)
        if number == signal.SIGKILL:
            self.process.wait()

    async def _is_up(self) -> bool:
        try:
            return await self.count() >= 0
        except httpx.TransportError as error:
            raise AssertionError(str(error)) from error


def main() -> None:
    import uvicorn  # noqa: PLC0415 - only the process needs it

    port, ours, delay_s, pause_s = sys.argv[1:]
    server = FakeInferenceServer(
        ours=bool(int(ours)), delay_s=float(delay_s), pause_s=float(pause_s)
    )
    uvicorn.run(server.app(), host="127.0.0.1", port=int(port), log_config=None, access_log=False)


if __name__ == "__main__":
    main()

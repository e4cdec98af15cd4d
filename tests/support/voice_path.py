"""Fake api and inference service of the voice path, without sockets."""

from __future__ import annotations

import json
import math
import struct
from dataclasses import dataclass, field
from typing import Any

import httpx

from barnabee.clients.gpu import GpuClient
from barnabee.clients.probe import ProbeTargets

RATE_HZ = 24_000
ANSWER: dict[str, Any] = {
    "reply": "It's five o'clock.",
    "intent": "time",
    "degraded": [],
    "code": None,
    "latency_ms": {"intent": 2.0, "store": 1.0, "total": 3.0},
}


def make_tone(seconds: float, level: float = 0.3) -> bytes:
    """Return a 220 Hz tone as 16-bit PCM."""
    count = int(seconds * RATE_HZ)
    wave = (level * 32_000 * math.sin(2 * math.pi * 220 * n / RATE_HZ) for n in range(count))
    return b"".join(struct.pack("<h", int(sample)) for sample in wave)


@dataclass
class VoicePath:
    """Scripted answers of both services; `fails` has an exception or HTTP status by path."""

    transcript: str = "What time is it?"
    answer: dict[str, Any] = field(default_factory=lambda: dict(ANSWER))
    speech: bytes = field(default_factory=lambda: make_tone(1.2))
    fails: dict[str, Exception | int] = field(default_factory=dict)  # by path
    requests: list[httpx.Request] = field(default_factory=list)
    budgets_ms: dict[str, int] = field(default_factory=lambda: {"stt": 60_000})

    def make_targets(self) -> ProbeTargets:
        transport = httpx.MockTransport(self._handle)
        api = httpx.AsyncClient(base_url="http://api", transport=transport)
        gpu = GpuClient("http://gpu", "token", transport=transport)
        return ProbeTargets(gpu, api, RATE_HZ, self.budgets_ms, limit_s=5)

    def get_request(self, path: str) -> httpx.Request:
        """Return the only request to `path`."""
        (request,) = (request for request in self.requests if request.url.path == path)
        return request

    def get_command(self) -> dict[str, Any]:
        """Return the command that was sent."""
        body: dict[str, Any] = json.loads(self.get_request("/v1/command").content)
        return body

    def _handle(self, request: httpx.Request) -> httpx.Response:
        path = request.url.path
        self.requests.append(request)
        failure = self.fails.get(path)
        if isinstance(failure, Exception):
            raise failure
        if failure is not None:
            return httpx.Response(failure, json={"code": "loading", "message": "Not yet."})
        if path == "/v1/command":
            return httpx.Response(200, json=self.answer)
        if path == "/v1/audio/speech":
            return httpx.Response(200, content=self.speech)
        if path == "/v1/turns":
            return httpx.Response(200, json={"id": "t"})
        body = {"text": self.transcript, "duration": 1.0, "language": "en", "engine": "parakeet"}
        return httpx.Response(200, json=body)

"""A gpu service for tests: a client that needs no service, and a service that needs no model.

Its vectors are made of a sentence's words, so sentences that share words are near one another, the
same sentence always gives the same vector, and no weights are needed.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from barnabee.core.errors import DependencyDown
from barnabee.understanding.interfaces import Vectors
from barnabee.understanding.lexical_matcher import words

WIDTH = 384


def vector(text: str) -> Vectors:
    """Return a row of length 1 made of the words of `text`."""
    row = np.zeros(WIDTH, dtype=np.float32)
    for word in words(text) or [text]:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
        row += np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)
    return np.asarray(row / np.linalg.norm(row), dtype=np.float32)


@dataclass
class FakeGpu:
    """Fits where a GpuClient is expected; set `down` to take it away."""

    down: bool = False
    asked: list[list[str]] = field(default_factory=list)
    _known: dict[str, Vectors] = field(default_factory=dict)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        """Return one row for each text."""
        await self.ready()
        self.asked.append(list(texts))
        for text in texts:
            if text not in self._known:
                self._known[text] = vector(text)
        return np.stack([self._known[text] for text in texts])

    async def ready(self) -> None:
        """Return when it is not down."""
        if self.down:
            raise DependencyDown(dependency="gpu", reason="the test took it away")

    async def aclose(self) -> None:
        """Do nothing."""


def service() -> Starlette:
    """Return a service with the embeddings and health routes of the real one."""

    async def embeddings(request: Request) -> Response:
        asked = await request.json()
        texts = [asked["input"]] if isinstance(asked["input"], str) else asked["input"]
        packed = asked.get("encoding_format") == "base64"
        rows = [
            {"object": "embedding", "index": index, "embedding": _packed(row) if packed else row}
            for index, row in enumerate(vector(text).tolist() for text in texts)
        ]
        return JSONResponse({"object": "list", "data": rows, "model": "fake"})

    async def ready(_request: Request) -> Response:
        return JSONResponse({"status": "healthy", "service": "gpu", "dependencies": {}})

    return Starlette(
        routes=[
            Route("/v1/embeddings", embeddings, methods=["POST"]),
            Route("/health/ready", ready),
        ]
    )


def _packed(row: list[float]) -> str:
    return base64.b64encode(np.array(row, dtype="<f4").tobytes()).decode()

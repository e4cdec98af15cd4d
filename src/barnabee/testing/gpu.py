"""Fakes of the GPU service: its client, and the service itself without models.

Embeddings are the sum of one pseudo-random vector per word, so sentences that share words are
similar.
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
from barnabee.understanding.lexical_matcher import split_words

WIDTH = 384


def make_vector(text: str) -> Vectors:
    """Return the embedding of `text`, of length 1."""
    row = np.zeros(WIDTH, dtype=np.float32)
    for word in split_words(text) or [text]:
        seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8])
        row += np.random.default_rng(seed).standard_normal(WIDTH).astype(np.float32)
    return np.asarray(row / np.linalg.norm(row), dtype=np.float32)


@dataclass
class FakeGpuClient:
    """Fake of `GpuClient`; fails while `is_down`."""

    is_down: bool = False
    requests: list[list[str]] = field(default_factory=list)
    _vectors: dict[str, Vectors] = field(default_factory=dict)

    async def embed(self, texts: Sequence[str]) -> Vectors:
        await self.ready()
        self.requests.append(list(texts))
        for text in texts:
            if text not in self._vectors:
                self._vectors[text] = make_vector(text)
        return np.stack([self._vectors[text] for text in texts])

    async def ready(self) -> None:
        if self.is_down:
            raise DependencyDown(dependency="gpu", reason="is_down is set")

    async def aclose(self) -> None: ...


def make_gpu_app() -> Starlette:
    """Return an application with the embeddings and health routes of the GPU service."""

    async def create_embeddings(request: Request) -> Response:
        body = await request.json()
        texts = [body["input"]] if isinstance(body["input"], str) else body["input"]
        is_base64 = body.get("encoding_format") == "base64"
        rows = [
            {"object": "embedding", "index": index, "embedding": _encode(row) if is_base64 else row}
            for index, row in enumerate(make_vector(text).tolist() for text in texts)
        ]
        return JSONResponse({"object": "list", "data": rows, "model": "fake"})

    async def get_ready(_request: Request) -> Response:
        return JSONResponse({"status": "healthy", "service": "gpu", "dependencies": {}})

    return Starlette(
        routes=[
            Route("/v1/embeddings", create_embeddings, methods=["POST"]),
            Route("/health/ready", get_ready),
        ]
    )


def _encode(row: list[float]) -> str:
    return base64.b64encode(np.array(row, dtype="<f4").tobytes()).decode()

"""POST /v1/embeddings: texts in, vectors of length 1 out."""

from __future__ import annotations

import asyncio
import base64
import functools
import json
from collections.abc import Callable
from typing import TYPE_CHECKING, Literal

import numpy as np
from fastapi import APIRouter
from fastapi.responses import Response
from numpy.typing import NDArray
from pydantic import BaseModel

from barnabee.core.errors import BadRequest, DependencyDown, TooLarge
from barnabee.gpu.batcher import Batcher
from barnabee.gpu.engines.protocols import Embedder, Embeddings
from barnabee.gpu.routes.checks import Session, require_text

if TYPE_CHECKING:
    from barnabee.core.schema import Limits
    from barnabee.gpu.capabilities import Task

MAX_TEXTS = 256
INLINE_TEXTS = 16  # more are written in a thread: 256 take 15 ms, in which nobody else is heard


class Texts(BaseModel):
    """What to embed; `base64` is little-endian float32, a third of the size of `float`."""

    model: str
    input: str | list[str]
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = None


def router(task: Task[Embedder], limits: Limits) -> APIRouter:
    """Return the route."""
    routes = APIRouter()
    batchers = {slot.name: Batcher(slot, task.manager.metrics) for slot in task.slots}

    @routes.post("/v1/embeddings", response_model=None)
    async def embed(wanted: Texts, session: Session = "") -> Response:
        """Return one vector for each text, in order."""
        slot = task.called(wanted.model)[0]
        texts = [wanted.input] if isinstance(wanted.input, str) else wanted.input
        if not texts:
            raise BadRequest(field="field `input`", reason="it is empty")
        if len(texts) > MAX_TEXTS:
            raise TooLarge(field="field `input`", limit=f"{MAX_TEXTS} texts")
        for text in texts:
            require_text(text, field="field `input`", max_chars=limits.utterance_max_chars)
        async with task.lease(slot, session) as use:
            if wanted.dimensions not in {None, use.engine.dimensions}:
                reason = f"this model has {use.engine.dimensions}"
                raise BadRequest(field="field `dimensions`", reason=reason)
            found = await batchers[slot.name].embed(use, texts)
        if not np.isfinite(found.vectors).all():
            raise DependencyDown(dependency=slot.model, reason="its vectors are not numbers")
        encode = _base64 if wanted.encoding_format == "base64" else _floats
        write = functools.partial(_body, slot.model, found, encode)
        body = write() if len(texts) <= INLINE_TEXTS else await asyncio.to_thread(write)
        return Response(body, media_type="application/json")

    return routes


def _body(model: str, found: Embeddings, encode: Callable[[NDArray[np.float32]], str]) -> str:
    """Return the answer as JSON. Written by hand: json takes three times as long for the floats."""
    rows = ",".join(
        f'{{"object":"embedding","index":{index},"embedding":{encode(vector)}}}'
        for index, vector in enumerate(found.vectors)
    )
    tokens = sum(found.tokens)
    usage = f'{{"prompt_tokens":{tokens},"total_tokens":{tokens}}}'
    return f'{{"object":"list","model":{json.dumps(model)},"data":[{rows}],"usage":{usage}}}'


def _base64(vector: NDArray[np.float32]) -> str:
    return f'"{base64.b64encode(vector.astype("<f4").tobytes()).decode()}"'


def _floats(vector: NDArray[np.float32]) -> str:
    # 9 digits are a float32 to the last bit; 59 us for 384 of them, 154 us with json (17 digits)
    return "[" + ",".join(["%.9g"] * len(vector)) % tuple(vector.tolist()) + "]"

"""POST /v1/embeddings: texts in, vectors of length 1 out."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter
from fastapi.responses import JSONResponse
from pydantic import BaseModel

from barnabee.core.errors import BadRequest, TooLarge
from barnabee.gpu.batcher import Batcher
from barnabee.gpu.engines.protocols import Embedder
from barnabee.gpu.routes.checks import Session, require_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from barnabee.core.tables import Limits
    from barnabee.gpu.tasks import Task

MAX_TEXTS = 256


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
    async def embed(wanted: Texts, session: Session = "") -> JSONResponse:
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
        encode = _base64 if wanted.encoding_format == "base64" else _floats
        data = [
            {"object": "embedding", "index": index, "embedding": encode(vector)}
            for index, vector in enumerate(found.vectors)
        ]
        tokens = sum(found.tokens)
        usage = {"prompt_tokens": tokens, "total_tokens": tokens}
        return JSONResponse({"object": "list", "model": slot.model, "data": data, "usage": usage})

    return routes


def _base64(vector: NDArray[np.float32]) -> str:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode()


def _floats(vector: NDArray[np.float32]) -> list[float]:
    return [float(value) for value in vector]

"""Fakes of the language model: its client, and a server that streams like Azure OpenAI."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from barnabee.core.errors import BarnabeeError
from barnabee.understanding.interfaces import ModelAnswer, PastExchange


@dataclass
class FakeLanguageModel:
    """Fake of the language model client."""

    text: str = "Dublin, I believe."
    error: BarnabeeError | None = None
    requests: list[tuple[str, tuple[PastExchange, ...]]] = field(default_factory=list)

    async def answer(self, utterance: str, history: Sequence[PastExchange]) -> ModelAnswer:
        self.requests.append((utterance, tuple(history)))
        if self.error is not None:
            raise self.error
        return ModelAnswer(self.text, 1.5)

    async def ready(self) -> None:
        if self.error is not None:
            raise self.error

    async def aclose(self) -> None: ...


@dataclass
class FakeAzureOpenAI:
    """Chat and model routes of an Azure OpenAI resource; its fields may change at any time."""

    key: str = "azure-key"
    deployment: str = "family"
    chunks: list[str] = field(default_factory=lambda: ["Paris", " is the capital", " of France."])
    hang_before: int | None = None  # hangs before this chunk
    status: int = 200
    requests: list[dict[str, Any]] = field(default_factory=list)

    def make_app(self) -> Starlette:
        chat = f"/openai/deployments/{self.deployment}/chat/completions"
        return Starlette(
            routes=[
                Route(chat, self._chat, methods=["POST"]),
                Route("/openai/models", self._models),
            ]
        )

    async def _models(self, request: Request) -> Response:
        return self._check(request) or JSONResponse({"object": "list", "data": []})

    async def _chat(self, request: Request) -> Response:
        refusal = self._check(request)
        if refusal is not None:
            return refusal
        self.requests.append(await request.json())
        return StreamingResponse(self._stream(), media_type="text/event-stream")

    def _check(self, request: Request) -> Response | None:
        if "api-version" not in request.query_params:
            return JSONResponse({"error": {"code": "404", "message": "Not found"}}, 404)
        if request.headers.get("api-key") != self.key:
            return JSONResponse({"error": {"code": "401", "message": "Access denied"}}, 401)
        if self.status != 200:  # noqa: PLR2004 - anything but OK
            return JSONResponse({"error": {"code": str(self.status)}}, self.status)
        return None

    async def _stream(self) -> AsyncIterator[str]:
        # Azure's first event has the content filter's result for the prompt and no choice.
        yield _event({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]})
        yield _event(_chunk({"role": "assistant", "content": ""}))
        for number, chunk in enumerate(self.chunks):
            if number == self.hang_before:
                await asyncio.Event().wait()
            yield _event(_chunk({"content": chunk}))
        yield _event(_chunk({}, finish="stop"))
        yield "data: [DONE]\n\n"


def _chunk(delta: dict[str, str], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "fake",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"

"""POST /v1/chat/completions: the language model's answer, passed through byte by byte."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import httpx
from fastapi import APIRouter, Request
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict

from barnabee.core.errors import BarnabeeError, DependencyDown
from barnabee.gpu.engines.base import LanguageModel
from barnabee.gpu.engines.llama_server import CHAT_PATH
from barnabee.gpu.routes import SessionHeader

if TYPE_CHECKING:
    from barnabee.gpu.capabilities import Capability
    from barnabee.gpu.model_runtime import ModelRuntime


class ChatRequest(BaseModel):
    """Request of OpenAI's chat API; the model's server reads its other fields."""

    model_config = ConfigDict(extra="allow")

    model: str


def make_router(capability: Capability[LanguageModel] | None) -> APIRouter:
    """Return no route without a language model."""
    routes = APIRouter()
    if capability is None:
        return routes

    @routes.post(CHAT_PATH, response_model=None)
    async def complete(
        request: ChatRequest, connection: Request, session: SessionHeader = ""
    ) -> StreamingResponse:
        """Answer a chat; the model is loaded when needed and not evicted before the end."""
        runtime = capability.find_runtimes(request.model)[0]
        heads: list[httpx.Response] = []
        body = await connection.body()
        answer = _forward(capability, runtime, body, session, on_head=heads.append)
        await anext(answer)  # before the response starts, so that an error is an HTTP error
        (head,) = heads
        headers = {"Content-Type": head.headers["Content-Type"]}
        return StreamingResponse(answer, head.status_code, headers)

    return routes


async def _forward(
    capability: Capability[LanguageModel],
    runtime: ModelRuntime[LanguageModel],
    body: bytes,
    session: str,
    *,
    on_head: Callable[[httpx.Response], None],
) -> AsyncGenerator[bytes, None]:
    """Yield nothing once the server has accepted, then the pieces of its answer.

    A server that has died or hangs is unloaded: the next request loads the model again.
    """
    try:
        async with capability.lease(runtime, session) as lease:
            started_s = time.perf_counter()
            request = lease.engine.client.stream(
                "POST",
                CHAT_PATH,
                content=body,
                headers={"Content-Type": "application/json"},
                timeout=runtime.inference_limit_s,
            )
            try:
                async with request as response:
                    on_head(response)
                    yield b""
                    async for piece in response.aiter_raw():
                        lease.renew()
                        yield piece
            finally:
                lease.inference_s = time.perf_counter() - started_s
    except httpx.TransportError as error:
        with suppress(BarnabeeError):  # another answer still uses it
            await capability.manager.unload(runtime.name)
        reason = str(error) or type(error).__name__
        raise DependencyDown(dependency=runtime.model_id, reason=reason) from error

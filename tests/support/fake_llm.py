"""Fakes of the language model: its client, and a server that streams like OpenAI's and Azure's."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from barnabee.core.errors import BarnabeeError
from barnabee.understanding.interfaces import ModelRequest, ModelRules, ToolRequest

Step = str | ToolRequest | BarnabeeError
_OK = 200


@dataclass
class FakeLanguageModel:
    """Fake of the language model client.

    Each list of `script` is one answer: its pieces, its requests for tools, an error. After the
    last, every answer is `text`, or `error`.
    """

    text: str = "Dublin, I believe."
    error: BarnabeeError | None = None
    script: list[Sequence[Step]] = field(default_factory=list)
    rules: ModelRules = field(default_factory=ModelRules)
    requests: list[ModelRequest] = field(default_factory=list)

    async def generate(self, request: ModelRequest) -> AsyncGenerator[str | ToolRequest, None]:
        self.requests.append(request)
        for step in self.script.pop(0) if self.script else [self.error or self.text]:
            if isinstance(step, BarnabeeError):
                raise step
            yield step

    async def ready(self) -> None:
        if self.error is not None:
            raise self.error

    async def aclose(self) -> None: ...


@dataclass
class ScriptedAnswer:
    """One answer of the server; without a `finish` reason the connection breaks at the end."""

    chunks: Sequence[str] = ("Paris", " is the capital", " of France.")
    tools: Sequence[tuple[str, Mapping[str, Any]]] = ()  # name and arguments
    hang_before: int | None = None  # hangs before this chunk
    gap_s: float = 0.0  # between two chunks
    finish: str | None = "stop"
    status: int = _OK
    error_code: str = ""
    retry_after: str = ""


@dataclass
class FakeLlmServer:
    """Chat route of an OpenAI-compatible server or an Azure resource.

    `script` holds the next answers, `answer` all later ones. `left` is set when a client leaves
    before the end of its answer; `written_s` are the times of the chunks of the last answer.
    """

    provider: Literal["openai", "azure"] = "openai"
    key: str = "llm-key"
    model: str = "family"
    answer: ScriptedAnswer = field(default_factory=ScriptedAnswer)
    script: list[ScriptedAnswer] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    left: asyncio.Event = field(default_factory=asyncio.Event)
    written_s: list[float] = field(default_factory=list)

    def make_app(self) -> Starlette:
        azure = f"/openai/deployments/{self.model}/chat/completions"
        path = azure if self.provider == "azure" else "/v1/chat/completions"
        return Starlette(routes=[Route(path, self._chat, methods=["POST"])])

    async def _chat(self, request: Request) -> Response:
        body = await request.json()
        answer = self.script.pop(0) if self.script else self.answer
        refusal = self._check(request, body["model"], answer)
        if refusal is not None:
            return refusal
        self.requests.append(body)
        return StreamingResponse(self._stream(answer), media_type="text/event-stream")

    def _check(self, request: Request, model: str, answer: ScriptedAnswer) -> Response | None:
        sent = request.headers.get("api-key") or request.headers.get("authorization", "")
        if sent.removeprefix("Bearer ") != self.key:
            return _refuse(401, "401")
        if self.provider == "azure" and "api-version" not in request.query_params:
            return _refuse(404, "404")
        if model != self.model:
            return _refuse(404, "model_not_found")
        if answer.status != _OK:
            return _refuse(answer.status, answer.error_code, answer.retry_after)
        return None

    async def _stream(self, answer: ScriptedAnswer) -> AsyncIterator[str]:
        try:
            async for event in self._make_events(answer):
                yield event
        except asyncio.CancelledError:
            self.left.set()
            raise

    async def _make_events(self, answer: ScriptedAnswer) -> AsyncIterator[str]:
        if self.provider == "azure":  # its first event has the filter's result and no choice
            yield _event({"choices": [], "prompt_filter_results": [{"prompt_index": 0}]})
        yield _event(_chunk({"role": "assistant", "content": ""}))
        self.written_s = []
        for number, chunk in enumerate(answer.chunks):
            if number == answer.hang_before:
                await asyncio.Event().wait()
            if number and answer.gap_s:
                await asyncio.sleep(answer.gap_s)
            self.written_s.append(time.monotonic())
            yield _event(_chunk({"content": chunk}))
        for event in _make_tool_events(answer.tools):
            yield event
        if answer.finish is None:
            raise ConnectionResetError
        finish = "tool_calls" if answer.tools else answer.finish
        yield _event(_chunk({}, finish=finish))
        yield "data: [DONE]\n\n"


def _make_tool_events(tools: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    """Return the events of tool calls; the arguments come in two pieces, as from real servers."""
    events = []
    for index, (name, arguments) in enumerate(tools):
        text = json.dumps(arguments)
        first: dict[str, Any] = {"id": f"call-{index}", "type": "function", "index": index}
        first["function"] = {"name": name, "arguments": text[:3]}
        rest = {"index": index, "function": {"arguments": text[3:]}}
        events += [_event(_chunk({"tool_calls": [part]})) for part in (first, rest)]
    return events


def _refuse(status: int, code: str, retry_after: str = "") -> Response:
    headers = {"Retry-After": retry_after} if retry_after else None
    return JSONResponse({"error": {"code": code, "message": code or "refused"}}, status, headers)


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "fake",
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }


def _event(body: dict[str, Any]) -> str:
    return f"data: {json.dumps(body)}\n\n"

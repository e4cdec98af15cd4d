"""Client of the language model: any server with OpenAI's API, or Azure OpenAI, with streaming.

The SDK is imported at the first request, because it takes 50 MiB and a second. What is sent is
logged and counted by kind and length, never its content.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import structlog

from barnabee.clients.service_client import TokenSource, read_token
from barnabee.core.errors import LlmFailed
from barnabee.core.schema import LlmConfig
from barnabee.understanding.interfaces import ModelRequest, ModelRules, ToolRequest

if TYPE_CHECKING:
    from openai import AsyncOpenAI
    from openai.types.chat import ChatCompletionChunk

NAME = "llm"
NO_KEY = "none"  # the SDK requires one; servers on the local network do not
_CHECK = ({"role": "user", "content": "Hi"},)
_CHECK_TOKENS = 16  # reasoning models refuse fewer
_FILTERED = "content_filter"

log = structlog.get_logger()
OnSent = Callable[[Mapping[str, int]], None]


class LlmClient:
    """A chat model at its server."""

    def __init__(
        self,
        config: LlmConfig,
        key: TokenSource | None,
        *,
        on_sent: OnSent = lambda _characters: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`on_sent` gets the number of characters by kind of every request."""
        self._config, self._key = config, key or NO_KEY
        self._on_sent, self._clock = on_sent, clock
        self._lock = asyncio.Lock()
        self._client: AsyncOpenAI | None = None
        self._ready_until_s = self._limited_until_s = float("-inf")
        self._limit_name = "max_tokens"
        self.rules = ModelRules(
            rooms=frozenset(config.rooms),
            sent=frozenset(config.send),
            context_max_chars=config.context_max_chars,
            answer_max_chars=config.answer_max_chars,
            patience_s=config.stall_ms / 1000,
        )

    async def generate(self, request: ModelRequest) -> AsyncGenerator[str | ToolRequest, None]:
        """Yield text as it is generated, then tool requests; raises LlmFailed."""
        self._report_sent(request)
        tools = {"tools": list(request.tools)} if request.tools else {}
        answer = _Answer()
        async with self._open(list(request.messages), self._config.answer_max_tokens, tools) as (
            chunks
        ):
            async for chunk in self._limit_waits(chunks, answer):
                if (text := answer.add(chunk)) != "":
                    yield text
        for call in answer.finish():
            yield call
        self._ready_until_s = self._clock() + self._config.check_every_s

    async def ready(self) -> None:
        """Raise LlmFailed unless the configured model generates a token.

        A token is asked for after a failure, and `check_every_s` after the last success.
        """
        if self._clock() < self._ready_until_s:
            return
        async with self._open(list(_CHECK), _CHECK_TOKENS, {}) as chunks:
            async for chunk in self._limit_waits(chunks, _Answer()):
                if chunk.choices:
                    break
        self._ready_until_s = self._clock() + self._config.check_every_s

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    @asynccontextmanager
    async def _open(
        self, messages: list[Any], max_tokens: int, options: dict[str, Any]
    ) -> AsyncIterator[AsyncIterator[ChatCompletionChunk]]:
        """Open the stream of one answer; the SDK's errors become LlmFailed."""
        wait_s = self._limited_until_s - self._clock()
        if wait_s > 0:
            raise LlmFailed(
                "rate_limited", f"for another {wait_s:.0f} s", retry_after_s=int(wait_s) + 1
            )
        client = await self._get_client()
        import openai  # noqa: PLC0415 - see the module's docstring

        stream = None
        try:
            stream = await self._create(client, messages, max_tokens, options)
            async with stream:
                yield aiter(stream)
        except openai.APIConnectionError as error:
            is_open, reason = stream is not None, type(error).__name__
            raise self._fail(
                LlmFailed("cut_short" if is_open else "dependency_down", reason)
            ) from error
        except openai.OpenAIError as error:
            raise self._fail(_explain(error)) from error
        except LlmFailed as error:
            raise self._fail(error) from error.__cause__

    async def _create(
        self, client: AsyncOpenAI, messages: list[Any], max_tokens: int, options: dict[str, Any]
    ) -> Any:
        """Send the request; the newest models have another name for the limit of tokens."""
        import openai  # noqa: PLC0415 - see the module's docstring

        limit_s = self._config.first_token_ms / 1000
        for limit_name in (self._limit_name, "max_completion_tokens"):
            limits: dict[str, Any] = {limit_name: max_tokens}
            try:
                async with asyncio.timeout(limit_s):
                    stream = await client.chat.completions.create(
                        model=self._config.model,
                        messages=messages,
                        stream=True,
                        **limits,
                        **options,
                    )
            except TimeoutError as error:
                raise _timed_out(self._config.first_token_ms) from error
            except openai.BadRequestError as error:
                if limit_name == "max_completion_tokens" or limit_name not in str(error):
                    raise
            else:
                self._limit_name = limit_name
                return stream
        raise AssertionError

    async def _limit_waits(
        self, chunks: AsyncIterator[ChatCompletionChunk], answer: _Answer
    ) -> AsyncIterator[ChatCompletionChunk]:
        """Yield the chunks; raises LlmFailed when one takes too long."""
        limit_s = self._config.first_token_ms / 1000
        until_s = self._clock() + self._config.answer_ms / 1000
        while True:
            try:
                async with asyncio.timeout(min(limit_s, max(0.0, until_s - self._clock()))):
                    chunk = await anext(chunks, None)  # never around a yield
            except TimeoutError as error:
                if answer.has_begun and self._clock() < until_s:
                    stall_ms = self._config.stall_ms
                    raise LlmFailed("stalled", f"nothing for {stall_ms} ms") from error
                raise _timed_out(round(limit_s * 1000)) from error
            if chunk is None:
                return
            yield chunk
            if chunk.choices:
                limit_s = self._config.stall_ms / 1000

    def _report_sent(self, request: ModelRequest) -> None:
        self._on_sent(request.characters)
        log.info(
            "llm_request",
            provider=self._config.provider,
            server=urlsplit(self._config.url).netloc.rpartition("@")[2],
            model=self._config.model,
            characters=dict(request.characters),
        )

    def _fail(self, error: LlmFailed) -> LlmFailed:
        """Log a failure; honour Retry-After."""
        self._ready_until_s = float("-inf")
        if error.code == "rate_limited" and error.retry_after_s:
            self._limited_until_s = self._clock() + error.retry_after_s
        log.warning("llm_failed", code=error.code, reason=str(error.fields["reason"]))
        return error

    async def _get_client(self) -> AsyncOpenAI:
        async with self._lock:
            if self._client is None:  # the import takes a second
                self._client = await asyncio.to_thread(self._make_client)
            return self._client

    def _make_client(self) -> AsyncOpenAI:
        from openai import AsyncAzureOpenAI, AsyncOpenAI  # noqa: PLC0415 - see the module

        config = self._config
        limits: dict[str, Any] = {"timeout": config.answer_ms / 1000, "max_retries": 0}
        if config.provider == "azure":
            return AsyncAzureOpenAI(
                azure_endpoint=config.url,
                api_version=config.api_version,
                api_key=read_token(self._key),
                **limits,
            )

        async def read_key() -> str:  # for each request, because a token may be replaced
            return read_token(self._key)

        return AsyncOpenAI(base_url=config.url, api_key=read_key, **limits)


@dataclass
class _Answer:
    """What has arrived of an answer beside its text."""

    finish_reason: str = ""
    has_begun: bool = False
    calls: dict[int, list[str]] = field(default_factory=dict)  # id, name, arguments

    def add(self, chunk: ChatCompletionChunk) -> str:
        """Return the text of a chunk."""
        if not chunk.choices:
            return ""
        choice = chunk.choices[0]
        self.finish_reason = choice.finish_reason or self.finish_reason
        if self.finish_reason == _FILTERED:
            raise LlmFailed("filtered", "in the middle of the answer")
        for part in choice.delta.tool_calls or ():
            call = self.calls.setdefault(part.index, ["", "", ""])
            call[0] = part.id or call[0]
            call[1] += (part.function and part.function.name) or ""
            call[2] += (part.function and part.function.arguments) or ""
        self.has_begun = self.has_begun or bool(choice.delta.content or self.calls)
        return choice.delta.content or ""

    def finish(self) -> list[ToolRequest]:
        """Return the requests for tools; raises LlmFailed when the answer is not complete."""
        if not self.finish_reason:
            raise LlmFailed("cut_short", "the connection ended")
        if self.finish_reason == "length":
            raise LlmFailed("cut_short", "its limit of tokens was reached")
        return [ToolRequest(*self.calls[index]) for index in sorted(self.calls)]


def _timed_out(limit_ms: int) -> LlmFailed:
    return LlmFailed("timed_out", f"no token within {limit_ms} ms")


def _explain(error: Exception) -> LlmFailed:
    """Return the failure that an error of the SDK stands for, never with content. Pure."""
    status = getattr(error, "status_code", None)
    retry_after_s = _parse_retry_after_s(getattr(error, "response", None))
    reason = f"status {status}" if status else type(error).__name__
    if status == 429:  # noqa: PLR2004
        return LlmFailed("rate_limited", reason, retry_after_s=retry_after_s)
    if status in {401, 403}:
        return LlmFailed("unauthorized", reason)
    if status == 404:  # noqa: PLR2004
        return LlmFailed("not_found", reason)
    if _FILTERED in str(getattr(error, "code", "")):
        return LlmFailed("filtered", "the question")
    return LlmFailed("dependency_down", reason, retry_after_s=retry_after_s)


def _parse_retry_after_s(response: Any) -> int | None:
    """Return Retry-After in seconds, 1 to 3600; None without one."""
    given = response.headers.get("retry-after", "") if response is not None else ""
    if not (given.isascii() and given.isdecimal()):
        return None
    return max(1, min(int(given[:6]), 3600))

"""Client of the language model: Azure OpenAI through its SDK, with streamed answers.

The SDK is imported at the first request, because it takes 50 MiB and a second. Requests have the
utterance and the last exchanges of the conversation; never facts, device names or keys.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from barnabee.core.errors import DependencyDown, TimedOut
from barnabee.understanding.interfaces import ModelAnswer, PastExchange

if TYPE_CHECKING:
    from openai import AsyncAzureOpenAI

NAME = "llm"
HISTORY_LENGTH = 8
ANSWER_MAX_CHARS = 900  # about a minute of speech
PROMPT = (
    "You are Barnabee, the voice assistant of a family's home. Your answer is spoken aloud: one to "
    "three short sentences, plain words, no lists, no markup, no emoji, numbers as words. "
    "You cannot control anything in the home here and know nothing of its state: say so when asked."
)

log = structlog.get_logger()


@dataclass(frozen=True)
class AzureDeployment:
    """Endpoint, deployment name and key of an Azure OpenAI model."""

    endpoint: str
    name: str
    api_version: str
    key: str


class AzureModel:
    """A deployed chat model."""

    def __init__(
        self,
        deployment: AzureDeployment,
        *,
        first_token_timeout_s: float = 8.0,
        timeout_s: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._deployment = deployment
        self._first_token_timeout_s = first_token_timeout_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._client: AsyncAzureOpenAI | None = None

    async def answer(self, utterance: str, history: Sequence[PastExchange]) -> ModelAnswer:
        """Return the whole answer; raises DependencyDown or TimedOut."""
        begun = time.perf_counter()
        first_token_ms = 0.0
        text = ""
        async with aclosing(self.stream(utterance, history)) as pieces:
            async for piece in pieces:
                first_token_ms = first_token_ms or (time.perf_counter() - begun) * 1000
                text += piece
                if len(text) > ANSWER_MAX_CHARS:
                    break
        return ModelAnswer(_whole_sentences(text), first_token_ms)

    async def stream(
        self, utterance: str, history: Sequence[PastExchange]
    ) -> AsyncGenerator[str, None]:
        """Yield the answer as it is generated; raises DependencyDown or TimedOut."""
        import openai  # noqa: PLC0415 - see the module's docstring

        client = await self._get_client()
        limit_s = self._first_token_timeout_s
        until_s = self._clock() + self._timeout_s
        try:
            async with asyncio.timeout(limit_s):
                answers = await client.chat.completions.create(
                    model=self._deployment.name,
                    messages=make_messages(utterance, history),
                    stream=True,
                )
            async with answers:
                chunks = aiter(answers)
                while True:
                    async with asyncio.timeout(limit_s):  # never around a yield
                        chunk = await anext(chunks, None)
                    if chunk is None:
                        return
                    piece = chunk.choices[0].delta.content if chunk.choices else None
                    if piece:
                        yield piece
                        limit_s = max(0.0, until_s - self._clock())
        except (TimeoutError, openai.APITimeoutError) as error:
            limit_ms = int(self._timeout_s * 1000)
            raise TimedOut(what="the language model", limit_ms=limit_ms) from error
        except openai.OpenAIError as error:
            raise _down(error) from error

    async def ready(self) -> None:
        """Raise DependencyDown unless the endpoint answers and accepts the key."""
        client = await self._get_client()
        import openai  # noqa: PLC0415 - see the module's docstring

        try:
            await client.models.list()
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise _down(error) from error
        except openai.APIStatusError as error:
            # the key was accepted; some deployments do not allow listing models
            if error.status_code >= 500:  # noqa: PLR2004
                raise _down(error) from error
        except openai.OpenAIError as error:
            raise _down(error) from error

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _get_client(self) -> AsyncAzureOpenAI:
        async with self._lock:
            if self._client is None:
                self._client = await asyncio.to_thread(
                    self._make_client
                )  # the import takes a second
            return self._client

    def _make_client(self) -> AsyncAzureOpenAI:
        from openai import AsyncAzureOpenAI  # noqa: PLC0415 - see the module's docstring

        log.info("llm_configured", deployment=self._deployment.name)
        return AsyncAzureOpenAI(
            azure_endpoint=self._deployment.endpoint,
            api_version=self._deployment.api_version,
            api_key=self._deployment.key,
            timeout=self._timeout_s,
            max_retries=1,
        )


def make_messages(utterance: str, history: Sequence[PastExchange]) -> list[Any]:
    """Return the conversation as chat messages, oldest first."""
    messages: list[dict[str, str]] = [{"role": "system", "content": PROMPT}]
    for exchange in history[-HISTORY_LENGTH:]:
        messages.append({"role": "user", "content": exchange.utterance})
        messages.append({"role": "assistant", "content": exchange.reply})
    return [*messages, {"role": "user", "content": utterance}]


def _whole_sentences(text: str) -> str:
    """Return `text`, cut after its last whole sentence when it is too long."""
    plain = text.encode("utf-8", "replace").decode().strip()
    if len(plain) <= ANSWER_MAX_CHARS:
        return plain
    cut = plain[:ANSWER_MAX_CHARS]
    end = max(cut.rfind(mark) for mark in ".!?")
    return cut[: end + 1] if end > 0 else cut


def _down(error: Exception) -> DependencyDown:
    status = getattr(error, "status_code", None)
    reason = f"status {status}" if status else type(error).__name__
    log.warning("llm_failed", code="dependency_down", reason=reason)
    return DependencyDown(dependency=NAME, reason=reason)

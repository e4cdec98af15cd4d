"""The rest of the world's knowledge: Azure OpenAI through its own SDK, streamed.

The SDK is imported when the first answer is needed, because it takes 50 MiB and a second. What goes
out: the sentence and the last exchanges of the conversation; never facts, names of devices or keys.
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
from barnabee.understanding.interfaces import ModelAnswer, Said

if TYPE_CHECKING:
    from openai import AsyncAzureOpenAI

NAME = "llm"
HISTORY_KEPT = 8
# About a minute of speech: nobody listens longer, whatever the model would still say.
ANSWER_MAX_CHARS = 900
PROMPT = (
    "You are Barnabee, the voice assistant of a family's home. Your answer is spoken aloud: one to "
    "three short sentences, plain words, no lists, no markup, no emoji, numbers as words. "
    "You cannot switch anything in the house here and know nothing of its state: say so when asked."
)

log = structlog.get_logger()


@dataclass(frozen=True)
class Deployment:
    """Where the model is and the key to it."""

    endpoint: str
    name: str
    api_version: str
    key: str


class AzureModel:
    """A deployed chat model."""

    def __init__(
        self,
        deployment: Deployment,
        *,
        first_token_timeout_s: float = 8.0,
        timeout_s: float = 20.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Remember where; nothing is imported or connected yet."""
        self._deployment = deployment
        self._first_token_timeout_s = first_token_timeout_s
        self._timeout_s = timeout_s
        self._clock = clock
        self._lock = asyncio.Lock()
        self._client: AsyncAzureOpenAI | None = None

    async def answer(self, utterance: str, history: Sequence[Said]) -> ModelAnswer:
        """Return the whole answer; DependencyDown or TimedOut when there is none."""
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

    async def stream(self, utterance: str, history: Sequence[Said]) -> AsyncGenerator[str, None]:
        """Yield the answer as it comes; DependencyDown or TimedOut when it does not."""
        import openai  # noqa: PLC0415 - see the module's docstring

        client = await self._connected()
        limit_s = self._first_token_timeout_s
        until_s = self._clock() + self._timeout_s
        try:
            async with asyncio.timeout(limit_s):
                answers = await client.chat.completions.create(
                    model=self._deployment.name,
                    messages=messages(utterance, history),
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
        """Return when the endpoint answers and takes the key; DependencyDown otherwise."""
        client = await self._connected()
        import openai  # noqa: PLC0415 - see the module's docstring

        try:
            await client.models.list()
        except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
            raise _down(error) from error
        except openai.APIStatusError as error:
            # it answered and knows the key; some deployments do not let their models be listed
            if error.status_code >= 500:  # noqa: PLR2004
                raise _down(error) from error
        except openai.OpenAIError as error:
            raise _down(error) from error

    async def aclose(self) -> None:
        """Hang up."""
        if self._client is not None:
            await self._client.close()
            self._client = None

    async def _connected(self) -> AsyncAzureOpenAI:
        async with self._lock:
            if self._client is None:
                self._client = await asyncio.to_thread(self._make)  # the import takes a second
            return self._client

    def _make(self) -> AsyncAzureOpenAI:
        from openai import AsyncAzureOpenAI  # noqa: PLC0415 - see the module's docstring

        log.info("llm_configured", deployment=self._deployment.name)
        return AsyncAzureOpenAI(
            azure_endpoint=self._deployment.endpoint,
            api_version=self._deployment.api_version,
            api_key=self._deployment.key,
            timeout=self._timeout_s,
            max_retries=1,
        )


def messages(utterance: str, history: Sequence[Said]) -> list[Any]:
    """Return the conversation as the model wants it, oldest first."""
    told: list[dict[str, str]] = [{"role": "system", "content": PROMPT}]
    for said in history[-HISTORY_KEPT:]:
        told.append({"role": "user", "content": said.utterance})
        told.append({"role": "assistant", "content": said.reply})
    return [*told, {"role": "user", "content": utterance}]


def _whole_sentences(text: str) -> str:
    """Return `text`, ended at its last whole sentence when it is too long to be spoken."""
    plain = text.encode("utf-8", "replace").decode().strip()
    if len(plain) <= ANSWER_MAX_CHARS:
        return plain
    cut = plain[:ANSWER_MAX_CHARS]
    end = max(cut.rfind(mark) for mark in ".!?")
    return cut[: end + 1] if end > 0 else cut


def _down(error: Exception) -> DependencyDown:
    status = getattr(error, "status_code", None)
    reason = f"it answered {status}" if status else type(error).__name__
    log.warning("llm_failed", code="dependency_down", reason=reason)
    return DependencyDown(dependency=NAME, reason=reason)

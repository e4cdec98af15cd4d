"""Client of the inference service: speech to text, text to speech and embeddings.

Uses the OpenAI-compatible API, so any server with that API can be at the URL. Several servers share
the requests (`servers.py`). Imports no inference library.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

import httpx
import structlog

from barnabee.clients import responses
from barnabee.clients.load_balancer import InferenceServer, StickySession
from barnabee.clients.responses import TranscriptionResult
from barnabee.clients.servers import ServerPool
from barnabee.clients.service_client import TokenSource
from barnabee.core import tracing
from barnabee.core.errors import DependencyDown

if TYPE_CHECKING:
    from asyncio import Task

    import numpy as np
    from numpy.typing import NDArray

    from barnabee.core.health import Degraded
    from barnabee.core.settings import Settings

__all__ = ["GpuClient", "ModelNames", "TranscriptionResult"]


@dataclass(frozen=True, slots=True)
class ModelNames:
    """Model names of the servers; our own service accepts these defaults for any model."""

    stt: str = "whisper-1"
    tts: str = "tts-1"
    embed: str = "text-embedding-3-small"
    voice: str = ""  # empty: the server's default

    @classmethod
    def from_settings(cls, settings: Settings) -> ModelNames:
        return cls(settings.stt_model, settings.tts_model, settings.embed_model, settings.tts_voice)


class GpuClient:
    """Pooled connections to one or several inference services."""

    def __init__(
        self,
        url: str | Sequence[str],
        token: TokenSource,
        *,
        names: ModelNames | None = None,
        timeout_s: float = 10,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`timeout_s` limits connecting, waiting for the response and every gap in a stream.

        With several URLs each request goes to the least loaded server, and to another one when that
        fails before it responds. All get the same `token`.
        """
        urls = [url] if isinstance(url, str) else list(url)
        self._names = names or ModelNames()
        self._width = 0  # of an embedding; 0 before the first response
        self._pool = ServerPool(urls, token, timeout_s=timeout_s, transport=transport, clock=clock)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, 384) float32 rows of unit length in the order of `texts`.

        Foreign models may have another width, which must be the same on all servers.
        """
        import numpy as np  # noqa: PLC0415 - not needed for speech

        if not texts:
            return np.empty((0, 384), np.float32)
        body = {"model": self._names.embed, "input": list(texts), "encoding_format": "base64"}
        return await self._pool.post(
            "/v1/embeddings",
            lambda response: self._check_width(responses.parse_vectors(response, len(texts))),
            find_current_turn(self._pool),
            json=body,
        )

    def _check_width(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `rows`; DependencyDown when their width differs from earlier embeddings."""
        self._width = self._width or rows.shape[1]
        if rows.shape[1] != self._width:
            reason = f"embeddings of width {rows.shape[1]} instead of {self._width}"
            raise DependencyDown(dependency=responses.NAME, reason=reason)
        return rows

    async def transcribe(self, wav: bytes, *, language: str = "en") -> TranscriptionResult:
        return await self._pool.post(
            "/v1/audio/transcriptions",
            lambda response: responses.parse_transcription(response, language),
            find_current_turn(self._pool),
            data={"model": self._names.stt, "language": language, "response_format": "json"},
            files={"file": ("speech.wav", wav, "audio/wav")},
        )

    async def speak(
        self,
        text: str,
        *,
        voice: str | None = None,
        format: Literal["wav", "pcm"] = "wav",  # noqa: A002 - the standard term
    ) -> AsyncGenerator[bytes, None]:
        """Yield synthesized speech (24 kHz, 16 bit, mono) as it is computed.

        The header of a streamed WAV has no length: see `audio.wav.set_length`.
        """
        body: dict[str, Any] = {
            "model": self._names.tts,
            "input": text,
            "response_format": format,
        }
        if voice or self._names.voice:
            body["voice"] = voice or self._names.voice
        turn = find_current_turn(self._pool)
        async with aclosing(self._pool.stream("/v1/audio/speech", turn, json=body)) as sound:
            async for chunk in sound:
                yield chunk

    def turn(self, session: str) -> AbstractAsyncContextManager[None]:
        """Make all requests of this task in the block part of one spoken turn of `session`.

        The turn's models stay loaded and its requests stay at one server if possible. Never waits
        and never fails: without a turn the requests are sent all the same.
        """
        return run_turn(self._pool, session)

    async def read_vram(self) -> dict[str, Any]:
        """Return GET /v1/vram of the next server; empty when it does not answer or has none."""
        return await self._pool.read_json("/v1/vram")

    async def read_voices(self) -> list[str]:
        """Return the names of the next server's voices; empty when it does not answer."""
        body = await self._pool.read_json("/v1/audio/voices")
        voices = body.get("voices")
        return [str(voice) for voice in voices] if isinstance(voices, list) else []

    async def ready(self) -> Degraded | None:
        """Return None when all engines of all servers are ready, Degraded when some are.

        Raises DependencyDown when no server is.
        """
        return await self._pool.check_ready()

    async def aclose(self) -> None:
        """Close the connections after pending turn requests."""
        await self._pool.aclose()


SESSION_HEADER = "X-Barnabee-Session"
BEGIN_TIMEOUT_S = 20.0  # its models may have to be loaded first: wait_limit_ms
END_TIMEOUT_S = 1.5
_UNSUPPORTED = frozenset({404, 405, 501})

log = structlog.get_logger()


class StickyTurn(StickySession):
    """Active turn: its preferred server and the servers at which it has begun."""

    def __init__(self, pool: ServerPool, server: InferenceServer, session: str) -> None:
        super().__init__(server)
        self.pool = pool
        self.session = quote(session, safe=":")[:200]  # header values are limited
        self._begun: list[tuple[InferenceServer, Task[str | None]]] = []
        self._begin()

    @property
    def headers(self) -> Mapping[str, str]:
        return {SESSION_HEADER: self.session}

    def move_to(self, server: InferenceServer) -> None:
        """Continue at another server after a failover."""
        super().move_to(server)
        self._begin()

    def end(self) -> None:
        """End the turn at all servers, in the background."""
        for server, begun in self._begun:
            self.pool.spawn(self._end_at(server, begun))

    def _begin(self) -> None:
        if self.server.supports_turns and all(
            self.server is not server for server, _ in self._begun
        ):
            self._begun.append((self.server, self.pool.spawn(self._begin_at(self.server))))

    async def _begin_at(self, server: InferenceServer) -> str | None:
        try:
            response = await server.http.post(
                "/v1/turns",
                json={"session": self.session},
                headers=tracing.make_headers(),
                timeout=BEGIN_TIMEOUT_S,
            )
            if response.status_code in _UNSUPPORTED:
                server.supports_turns = False
                return None
            return str(response.raise_for_status().json()["id"])
        except (httpx.HTTPError, ValueError, KeyError, TypeError) as error:
            log.warning("turn_not_begun", code="turn", url=server.url, reason=repr(error))
            return None

    async def _end_at(self, server: InferenceServer, begun: Task[str | None]) -> None:
        turn = await begun
        if turn is None:
            return
        try:
            await server.http.delete(
                f"/v1/turns/{quote(turn, safe='')}",
                headers=tracing.make_headers(),
                timeout=END_TIMEOUT_S,
            )
        except httpx.HTTPError as error:  # the server ends it after turn_limit_ms
            log.warning("turn_not_ended", code="turn", url=server.url, reason=repr(error))


_CURRENT: ContextVar[StickyTurn | None] = ContextVar("turn", default=None)


def find_current_turn(pool: ServerPool) -> StickyTurn | None:
    """Return the current task's turn if it belongs to `pool`."""
    turn = _CURRENT.get()
    return turn if turn is not None and turn.pool is pool else None


@asynccontextmanager
async def run_turn(pool: ServerPool, session: str) -> AsyncIterator[None]:
    """Make all requests in the block part of one turn of `session`, at one server if possible."""
    server = pool.choose()
    if server is None:  # never: nothing was tried yet
        yield
        return
    turn = StickyTurn(pool, server, session)
    reset_token = _CURRENT.set(turn)
    try:
        yield
    finally:
        _CURRENT.reset(reset_token)
        turn.end()

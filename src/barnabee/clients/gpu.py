"""How other services call the inference service: hear, speak, embed.

Speaks the OpenAI-compatible API, so any server with that API can stand at the URL, and several
servers can share the work (`servers.py`). Imports no inference library.
"""

from __future__ import annotations

import struct
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from barnabee.clients import responses, turns
from barnabee.clients.responses import Transcript
from barnabee.clients.servers import Servers
from barnabee.core.errors import DependencyDown

if TYPE_CHECKING:
    import httpx
    import numpy as np
    from numpy.typing import NDArray

    from barnabee.core.health import Degraded
    from barnabee.core.settings import Settings

__all__ = ["GpuClient", "Names", "Transcript", "sized_wav"]


@dataclass(frozen=True, slots=True)
class Names:
    """What the servers call what they have; these our own service takes for whatever it has."""

    stt: str = "whisper-1"
    tts: str = "tts-1"
    embed: str = "text-embedding-3-small"
    voice: str = ""  # the server's own when empty

    @classmethod
    def of(cls, settings: Settings) -> Names:
        """Return the names in the settings."""
        return cls(settings.stt_model, settings.tts_model, settings.embed_model, settings.tts_voice)


class GpuClient:
    """Pooled connections to one or several inference services."""

    def __init__(
        self,
        url: str | Sequence[str],
        token: str,
        *,
        names: Names | None = None,
        timeout_s: float = 10,
        transport: httpx.AsyncBaseTransport | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Connect lazily; `timeout_s` bounds connecting, waiting and every pause in a stream.

        With several URLs each request goes to the one with the least to do, and to another one when
        that fails before anything was answered. All get the same `token`.
        """
        urls = [url] if isinstance(url, str) else list(url)
        self._names = names or Names()
        self._width = 0  # of a vector, once there was one
        self._servers = Servers(urls, token, timeout_s=timeout_s, transport=transport, clock=clock)

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, 384) float32 rows of length 1, in the order of `texts`.

        Another model than ours may have another width, the same for all servers.
        """
        import numpy as np  # noqa: PLC0415 - callers that only speak need none

        if not texts:
            return np.empty((0, 384), np.float32)
        body = {"model": self._names.embed, "input": list(texts), "encoding_format": "base64"}
        return await self._servers.post(
            "/v1/embeddings",
            lambda response: self._alike(responses.vectors(response, len(texts))),
            turns.current(self._servers),
            json=body,
        )

    def _alike(self, rows: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return `rows`; DependencyDown when a server embeds with another model than the others."""
        self._width = self._width or rows.shape[1]
        if rows.shape[1] != self._width:
            reason = f"vectors of {rows.shape[1]} numbers, where there were {self._width} before"
            raise DependencyDown(dependency=responses.NAME, reason=reason)
        return rows

    async def transcribe(self, wav: bytes, *, language: str = "en") -> Transcript:
        """Return what is said in a WAV file."""
        return await self._servers.post(
            "/v1/audio/transcriptions",
            lambda response: responses.transcript(response, language),
            turns.current(self._servers),
            data={"model": self._names.stt, "language": language, "response_format": "json"},
            files={"file": ("speech.wav", wav, "audio/wav")},
        )

    async def speak(
        self,
        text: str,
        *,
        voice: str | None = None,
        format: Literal["wav", "pcm"] = "wav",  # noqa: A002 - the word everybody uses for it
    ) -> AsyncIterator[bytes]:
        """Yield `text` spoken (24 kHz, 16 bit, mono) as it is computed.

        A streamed WAV does not know its length when it begins: see `sized_wav`.
        """
        body: dict[str, Any] = {
            "model": self._names.tts,
            "input": text,
            "response_format": format,
        }
        if voice or self._names.voice:
            body["voice"] = voice or self._names.voice
        turn = turns.current(self._servers)
        async with aclosing(self._servers.stream("/v1/audio/speech", turn, json=body)) as sound:
            async for chunk in sound:
                yield chunk

    def turn(self, session: str) -> AbstractAsyncContextManager[None]:
        """Make every request inside, in this task, part of one spoken turn of `session`.

        What the turn needs stays loaded, and it keeps to one server while that works. Never waits
        and never fails: where no turn can be had, the requests go without.
        """
        return turns.running(self._servers, session)

    async def ledger(self) -> dict[str, Any]:
        """Return what models the server that would be asked now has, as its GET /v1/vram says it.

        Empty when it has no such page, or does not answer: it is never worth waiting for.
        """
        return await self._servers.ledger()

    async def ready(self) -> Degraded | None:
        """Return None when all engines of all servers work, Degraded when some do.

        Raises DependencyDown when no server can do anything.
        """
        return await self._servers.ready()

    async def aclose(self) -> None:
        """Close the connections; a turn that is being ended is ended first."""
        await self._servers.aclose()


def sized_wav(wav: bytes) -> bytes:
    """Return a streamed WAV with its true length in the header, as a file should have it. Pure."""
    start = wav.find(b"data") + 4
    if not wav.startswith(b"RIFF") or start < 16:  # noqa: PLR2004 - no RIFF header is shorter
        return wav
    riff, data = struct.pack("<I", len(wav) - 8), struct.pack("<I", len(wav) - start - 4)
    return wav[:4] + riff + wav[8:start] + data + wav[start + 4 :]

"""How other services call the inference service: hear, speak, embed.

Speaks the OpenAI-compatible API, so any server with that API can stand at the URL. Imports no
inference library.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import AsyncIterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import httpx

from barnabee.core import trace
from barnabee.core.errors import BadInput, DependencyDown, TimedOut
from barnabee.core.health import Degraded

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    from numpy.typing import NDArray

STT_MODEL, TTS_MODEL, EMBED_MODEL = "whisper-1", "tts-1", "text-embedding-3-small"
READY_TIMEOUT_S = 2.0
POOL = httpx.Limits(max_connections=32, max_keepalive_connections=16, keepalive_expiry=60)
_CLIENT_ERRORS = range(400, 500)


@dataclass(frozen=True, slots=True)
class Transcript:
    """What was heard."""

    text: str
    duration_s: float
    language: str
    engine: str


class GpuClient:
    """One pooled connection to the inference service."""

    def __init__(
        self,
        url: str,
        token: str,
        *,
        timeout_s: float = 10,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        """Connect lazily; `timeout_s` bounds connecting, waiting and every pause in a stream."""
        self._timeout_s = timeout_s
        self._client = httpx.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {token}"},
            timeout=timeout_s,
            limits=POOL,
            transport=transport,
        )

    async def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Return (n, 384) float32 rows of length 1, in the order of `texts`."""
        import numpy as np  # noqa: PLC0415 - callers that only speak need none

        if not texts:
            return np.empty((0, 384), np.float32)
        body = {"model": EMBED_MODEL, "input": list(texts), "encoding_format": "base64"}
        response = await self._post("/v1/embeddings", json=body)
        with _understood():
            rows = [base64.b64decode(row["embedding"], validate=True) for row in _rows(response)]
            return np.frombuffer(b"".join(rows), "<f4").reshape(len(texts), -1)

    async def transcribe(self, wav: bytes, *, language: str = "en") -> Transcript:
        """Return what is said in a WAV file."""
        form = {"model": STT_MODEL, "language": language, "response_format": "json"}
        files = {"file": ("speech.wav", wav, "audio/wav")}
        response = await self._post("/v1/audio/transcriptions", data=form, files=files)
        with _understood():
            answer = response.json()
            return Transcript(
                text=str(answer["text"]),
                duration_s=float(answer.get("duration", 0)),
                language=str(answer.get("language", language)),
                engine=str(answer.get("engine", "unknown")),
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
        body: dict[str, Any] = {"model": TTS_MODEL, "input": text, "response_format": format}
        if voice:
            body["voice"] = voice
        with self._named_failures():
            request = self._client.stream(
                "POST", "/v1/audio/speech", json=body, headers=trace.headers()
            )
            async with request as response:
                if response.is_error:
                    await response.aread()
                _raise_for(response)
                async for chunk in response.aiter_bytes():
                    yield chunk

    async def ready(self) -> Degraded | None:
        """Return None when all engines work, Degraded when some do; DependencyDown when none."""
        with self._named_failures():
            response = await self._client.get("/health/ready", timeout=READY_TIMEOUT_S)
        with _understood():
            report = response.json()
            bad = {
                name: one["message"]
                for name, one in report["dependencies"].items()
                if one["status"] != "healthy"
            }
            status = report["status"]
        if response.is_error:
            raise DependencyDown(dependency="gpu", reason=f"it is {status}: {_sentence(bad)}")
        return Degraded("gpu_degraded", f"gpu: {_sentence(bad)}") if bad else None

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _post(self, path: str, **content: Any) -> httpx.Response:
        with self._named_failures():
            response = await self._client.post(path, headers=trace.headers(), **content)
        _raise_for(response)
        return response

    @contextmanager
    def _named_failures(self) -> Iterator[None]:
        try:
            yield
        except httpx.TimeoutException as error:
            raise TimedOut(what="gpu", limit_ms=round(self._timeout_s * 1000)) from error
        except httpx.HTTPError as error:
            raise DependencyDown(dependency="gpu", reason=_reason(error)) from error


def sized_wav(wav: bytes) -> bytes:
    """Return a streamed WAV with its true length in the header, as a file should have it. Pure."""
    start = wav.find(b"data") + 4
    if not wav.startswith(b"RIFF") or start < 16:  # noqa: PLR2004 - no RIFF header is shorter
        return wav
    riff, data = struct.pack("<I", len(wav) - 8), struct.pack("<I", len(wav) - start - 4)
    return wav[:4] + riff + wav[8:start] + data + wav[start + 4 :]


def _raise_for(response: httpx.Response) -> None:
    """Raise what the service answered: the caller's fault as BadInput, the rest as its own."""
    if not response.is_error:
        return
    try:
        body = response.json()
        code, message = str(body["code"]), str(body["message"])
    except (ValueError, KeyError, TypeError):
        code, message = "http", f"status {response.status_code}"
    if response.status_code in _CLIENT_ERRORS and code != "unauthorized":
        error = BadInput(what=message.rstrip("."))
        error.code, error.status = code, response.status_code  # type: ignore[misc]
        raise error
    raise DependencyDown(dependency="gpu", reason=message)


def _rows(response: httpx.Response) -> list[dict[str, str]]:
    rows: list[dict[str, str]] = response.json()["data"]
    return sorted(rows, key=lambda row: int(row.get("index", 0)))


def _sentence(bad: dict[str, Any]) -> str:
    return "; ".join(f"{name}: {message}" for name, message in bad.items())


def _reason(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__


@contextmanager
def _understood() -> Iterator[None]:
    try:
        yield
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DependencyDown(
            dependency="gpu", reason=f"an answer not understood: {error}"
        ) from error

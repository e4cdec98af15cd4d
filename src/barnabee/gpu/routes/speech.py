"""POST /v1/audio/speech: text in, synthesized audio out, streamed phrase by phrase."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from barnabee.audio import encode
from barnabee.audio.samples import to_pcm16
from barnabee.core.errors import BadRequest
from barnabee.gpu.engines.base import TextToSpeech
from barnabee.gpu.routes import SessionHeader, require_text

if TYPE_CHECKING:
    from barnabee.core.schema import LimitsConfig, VoiceConfig
    from barnabee.gpu.capabilities import Capability
    from barnabee.gpu.model_runtime import ModelRuntime

# Clients written for OpenAI's API must name one of its voices: they get Kokoro's voice of that name
# where there is one, else the default voice.
OPENAI_VOICES = frozenset(
    {"alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx"}
    | {"sage", "shimmer", "verse"}
)


class VoiceId(BaseModel):
    """Voice as an object, the second form of OpenAI's API."""

    id: str


class SpeechRequest(BaseModel):
    """Text and voice; the format `pcm` is signed 16-bit little-endian mono without a header.

    Other fields of OpenAI's API, such as `instructions`, are accepted and ignored.
    """

    model: str
    input: str
    voice: str | VoiceId = ""
    response_format: encode.Format = "mp3"
    stream_format: str = "audio"
    speed: float = Field(1.0, ge=0.5, le=2.0)


@dataclass(frozen=True, slots=True)
class SynthesisInput:
    """Validated text, voice and speed (1.0 is normal)."""

    text: str
    voice: str
    speed: float


def make_router(
    capability: Capability[TextToSpeech], limits: LimitsConfig, default_voice: VoiceConfig
) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/audio/speech", response_model=None)
    async def synthesize(request: SpeechRequest, session: SessionHeader = "") -> StreamingResponse:
        """Synthesize `input`; the first phrase is sent while the rest is still computed."""
        runtime = capability.find_runtimes(request.model)[0]
        text = require_text(
            request.input, field="field `input`", max_chars=limits.text_to_speech_max_chars
        )
        if request.stream_format != "audio":
            raise BadRequest(field="field `stream_format`", reason="only `audio` is supported")
        speed = request.speed * default_voice.speed_percent / 100
        voice = request.voice.id if isinstance(request.voice, VoiceId) else request.voice
        text_input = SynthesisInput(text, voice or default_voice.name, speed)
        pcm = _synthesize(capability, runtime, text_input, session)
        first = await anext(pcm)  # before the response starts, so that an error is an HTTP error
        encoder = encode.make_encoder(request.response_format, default_voice.sample_rate_hz)
        media_type = encode.MEDIA_TYPES[request.response_format]
        return StreamingResponse(_encode_stream(encoder, first, pcm), media_type=media_type)

    @routes.get("/v1/audio/voices")
    async def list_voices() -> dict[str, list[str]]:
        """Return the names of the voices, the default first."""
        async with capability.lease() as lease:
            return {"voices": list(lease.engine.voices)}

    return routes


def resolve_voice(requested: str, voices: Sequence[str]) -> str:
    """Return the engine's voice for a requested name; `voices` starts with the default. Pure.

    BadRequest for an unknown name.
    """
    if requested in voices:
        return requested
    if requested in OPENAI_VOICES:
        return next((voice for voice in voices if voice.endswith(f"_{requested}")), voices[0])
    raise BadRequest(field="field `voice`", reason=f"it is none of {', '.join(voices)}")


async def _synthesize(
    capability: Capability[TextToSpeech],
    runtime: ModelRuntime[TextToSpeech],
    text_input: SynthesisInput,
    session: str,
) -> AsyncGenerator[bytes, None]:
    async with capability.lease(runtime, session) as lease:
        engine = lease.engine
        voice = resolve_voice(text_input.voice, engine.voices)
        lease.audio_s = 0.0
        async for samples in lease.iterate(
            lambda: engine.speak(text_input.text, voice=voice, speed=text_input.speed)
        ):
            lease.audio_s += len(samples) / engine.sample_rate_hz
            yield to_pcm16(samples)


async def _encode_stream(
    encoder: encode.Encoder, first: bytes, rest: AsyncGenerator[bytes, None]
) -> AsyncIterator[bytes]:
    """Yield the encoded audio; empty pieces are not sent."""

    async def call(method: Any, *arguments: bytes) -> bytes:
        encoded: bytes = (
            await asyncio.to_thread(method, *arguments) if encoder.blocks else method(*arguments)
        )
        return encoded

    async with aclosing(rest):
        piece = await call(encoder.feed, first)
        if piece:
            yield piece
        async for pcm in rest:
            piece = await call(encoder.feed, pcm)
            if piece:
                yield piece
    yield await call(encoder.finish)

"""POST /v1/audio/speech: a text in, its sound out, streamed phrase by phrase."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from barnabee.audio import encode, wav
from barnabee.core.errors import BadRequest
from barnabee.gpu.engines.protocols import TextToSpeech
from barnabee.gpu.routes.checks import Session, require_text

if TYPE_CHECKING:
    from barnabee.core.schema import Limits, Voice
    from barnabee.gpu.capabilities import Task
    from barnabee.gpu.model_runtime import Slot

# Programs written for OpenAI's service must name one of its voices: here it is Kokoro's of the same
# name where there is one, else the house's.
OPENAI_VOICES = frozenset(
    {"alloy", "ash", "ballad", "cedar", "coral", "echo", "fable", "marin", "nova", "onyx"}
    | {"sage", "shimmer", "verse"}
)


class VoiceId(BaseModel):
    """OpenAI's other way to name a voice."""

    id: str


class Speech(BaseModel):
    """What to say and how. `pcm` is signed 16-bit little-endian, mono, without a header.

    `instructions` and whatever else OpenAI's clients send is accepted and changes nothing.
    """

    model: str
    input: str
    voice: str | VoiceId = ""
    response_format: encode.Format = "mp3"
    stream_format: str = "audio"
    speed: float = Field(1.0, ge=0.5, le=2.0)


@dataclass(frozen=True, slots=True)
class Saying:
    """What is said, in which voice, how fast (1.0 is normal)."""

    text: str
    voice: str
    speed: float


def router(task: Task[TextToSpeech], limits: Limits, house: Voice) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.post("/v1/audio/speech", response_model=None)
    async def speak(wanted: Speech, session: Session = "") -> StreamingResponse:
        """Return `input` spoken; the first sound is sent while the rest is still computed."""
        slot = task.called(wanted.model)[0]
        text = require_text(
            wanted.input, field="field `input`", max_chars=limits.text_to_speech_max_chars
        )
        if wanted.stream_format != "audio":
            reason = "only `audio` is streamed here"
            raise BadRequest(field="field `stream_format`", reason=reason)
        speed = wanted.speed * house.speed_percent / 100
        voice = wanted.voice.id if isinstance(wanted.voice, VoiceId) else wanted.voice
        saying = Saying(text, voice or house.name, speed)
        sound = _sound(task, slot, saying, session)
        first = await anext(sound)  # so that what cannot be spoken is still a proper error
        encoder = encode.make(wanted.response_format, house.sample_rate_hz)
        media_type = encode.MEDIA_TYPES[wanted.response_format]
        return StreamingResponse(_encoded(encoder, first, sound), media_type=media_type)

    return routes


def voice_of(wanted: str, voices: Sequence[str]) -> str:
    """Return the engine's name for a voice; its first is the house's. BadRequest. Pure."""
    if wanted in voices:
        return wanted
    if wanted in OPENAI_VOICES:
        return next((one for one in voices if one.endswith(f"_{wanted}")), voices[0])
    raise BadRequest(field="field `voice`", reason=f"it is none of {', '.join(voices)}")


async def _sound(
    task: Task[TextToSpeech], slot: Slot[TextToSpeech], saying: Saying, session: str
) -> AsyncGenerator[bytes, None]:
    async with task.lease(slot, session) as use:
        engine = use.engine
        voice = voice_of(saying.voice, engine.voices)
        use.audio_s = 0.0
        async for samples in use.each(
            lambda: engine.speak(saying.text, voice=voice, speed=saying.speed)
        ):
            use.audio_s += len(samples) / engine.sample_rate_hz
            yield wav.pcm16(samples)


async def _encoded(
    encoder: encode.Encoder, first: bytes, rest: AsyncGenerator[bytes, None]
) -> AsyncIterator[bytes]:
    """Yield the sound in its form, piece by piece; an empty piece is never sent."""

    async def do(work: Any, *arguments: bytes) -> bytes:
        made: bytes = (
            await asyncio.to_thread(work, *arguments) if encoder.blocks else work(*arguments)
        )
        return made

    async with aclosing(rest):
        piece = await do(encoder.feed, first)
        if piece:
            yield piece
        async for pcm in rest:
            piece = await do(encoder.feed, pcm)
            if piece:
                yield piece
    yield await do(encoder.finish)

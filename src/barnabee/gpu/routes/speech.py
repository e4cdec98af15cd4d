"""POST /v1/audio/speech: a text in, its sound out, streamed phrase by phrase."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from barnabee.core.errors import BadRequest
from barnabee.gpu import wav
from barnabee.gpu.engines.protocols import TextToSpeech
from barnabee.gpu.routes.checks import require_model, require_text

if TYPE_CHECKING:
    from barnabee.core.tables import Limits, Voice
    from barnabee.gpu.slots import Slot

MEDIA_TYPES = {"wav": "audio/wav", "pcm": "audio/pcm"}


class Speech(BaseModel):
    """What to say and how. `pcm` is signed 16-bit little-endian, mono, without a header."""

    model: str
    input: str
    voice: str = ""
    response_format: Literal["wav", "pcm"] = "wav"
    speed: float = Field(1.0, ge=0.5, le=2.0)


def router(slot: Slot[TextToSpeech], limits: Limits, house: Voice) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.post("/v1/audio/speech", response_model=None)
    async def speak(wanted: Speech) -> StreamingResponse:
        """Return `input` spoken; the first sound is sent while the rest is still computed."""
        require_model(slot, wanted.model)
        text = require_text(
            wanted.input, field="field `input`", max_chars=limits.text_to_speech_max_chars
        )
        engine = slot.check()
        voice = wanted.voice or house.name
        if voice not in engine.voices:
            known = ", ".join(engine.voices)
            raise BadRequest(field="field `voice`", reason=f"it is none of {known}")
        sound = _sound(slot, text, voice, wanted.speed * house.speed_percent / 100)
        first = await anext(sound)  # so that what cannot be spoken is still a proper error
        head = wav.header(engine.sample_rate_hz) if wanted.response_format == "wav" else b""
        return StreamingResponse(
            _joined(head + first, sound), media_type=MEDIA_TYPES[wanted.response_format]
        )

    return routes


async def _sound(
    slot: Slot[TextToSpeech], text: str, voice: str, speed: float
) -> AsyncIterator[bytes]:
    async with slot.lease() as use:
        use.audio_s = 0.0
        rate_hz = use.engine.sample_rate_hz
        async for samples in use.each(lambda: use.engine.speak(text, voice=voice, speed=speed)):
            use.audio_s += len(samples) / rate_hz
            yield wav.pcm16(samples)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk

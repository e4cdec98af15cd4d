"""POST /v1/audio/speech: a text in, its sound out, streamed phrase by phrase."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from fastapi import APIRouter
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from barnabee.core.errors import BadRequest
from barnabee.gpu import wav
from barnabee.gpu.engines.protocols import TextToSpeech
from barnabee.gpu.routes.checks import Session, require_text

if TYPE_CHECKING:
    from barnabee.core.tables import Limits, Voice
    from barnabee.gpu.slots import Slot
    from barnabee.gpu.tasks import Task

MEDIA_TYPES = {"wav": "audio/wav", "pcm": "audio/pcm"}


class Speech(BaseModel):
    """What to say and how. `pcm` is signed 16-bit little-endian, mono, without a header."""

    model: str
    input: str
    voice: str = ""
    response_format: Literal["wav", "pcm"] = "wav"
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
        speed = wanted.speed * house.speed_percent / 100
        saying = Saying(text, wanted.voice or house.name, speed)
        sound = _sound(task, slot, saying, session)
        first = await anext(sound)  # so that what cannot be spoken is still a proper error
        head = wav.header(house.sample_rate_hz) if wanted.response_format == "wav" else b""
        return StreamingResponse(
            _joined(head + first, sound), media_type=MEDIA_TYPES[wanted.response_format]
        )

    return routes


async def _sound(
    task: Task[TextToSpeech], slot: Slot[TextToSpeech], saying: Saying, session: str
) -> AsyncIterator[bytes]:
    async with task.lease(slot, session) as use:
        engine = use.engine
        if saying.voice not in engine.voices:
            known = ", ".join(engine.voices)
            raise BadRequest(field="field `voice`", reason=f"it is none of {known}")
        use.audio_s = 0.0
        async for samples in use.each(
            lambda: engine.speak(saying.text, voice=saying.voice, speed=saying.speed)
        ):
            use.audio_s += len(samples) / engine.sample_rate_hz
            yield wav.pcm16(samples)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for chunk in rest:
        yield chunk

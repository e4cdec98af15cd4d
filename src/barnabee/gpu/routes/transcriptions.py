"""POST /v1/audio/transcriptions: a WAV in, what was said out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from barnabee.core.errors import BadRequest
from barnabee.gpu import wav
from barnabee.gpu.engines.protocols import STT_RATE_HZ, Segment, SpeechToText
from barnabee.gpu.routes.checks import require_model

if TYPE_CHECKING:
    from barnabee.core.tables import Limits
    from barnabee.gpu.slots import Slot

Format = Literal["json", "text", "verbose_json"]


def router(slot: Slot[SpeechToText], limits: Limits) -> APIRouter:
    """Return the route."""
    routes = APIRouter()

    @routes.post("/v1/audio/transcriptions", response_model=None)
    async def transcribe(
        file: Annotated[UploadFile, File()],
        model: Annotated[str, Form()],
        language: Annotated[str, Form()] = "en",
        response_format: Annotated[Format, Form()] = "json",
    ) -> Response:
        """Return what is said in `file` (WAV: PCM or float, 4 to 192 kHz, 1 to 8 channels)."""
        require_model(slot, model)
        sound = wav.parse(await file.read(), max_s=limits.audio_max_s)
        async with slot.lease() as use:
            if language not in use.engine.languages:
                raise BadRequest(field="field `language`", reason="it is not a known code")
            use.audio_s = sound.duration_s
            samples = await use.call(lambda: wav.decode(sound, STT_RATE_HZ))
            segments = [
                segment
                async for segment in use.each(
                    lambda: use.engine.transcribe(samples, language=language)
                )
            ]
        text = "".join(segment.text for segment in segments).strip()
        if response_format == "text":
            return PlainTextResponse(text + "\n")
        body: dict[str, object] = {
            "text": text,
            "language": language,
            "duration": round(sound.duration_s, 3),
            "engine": slot.model,
        }
        if response_format == "verbose_json":
            body |= {
                "task": "transcribe",
                "segments": [_row(*pair) for pair in enumerate(segments)],
            }
        return JSONResponse(body)

    return routes


def _row(number: int, segment: Segment) -> dict[str, object]:
    return {
        "id": number,
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "avg_logprob": round(segment.average_log_probability, 4),
        "no_speech_prob": round(segment.no_speech_probability, 4),
    }

"""POST /v1/audio/transcriptions: a recording in, what was said out."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

import structlog
from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from barnabee.audio import decode, wav
from barnabee.core.errors import BadRequest, BarnabeeError, Misconfigured, Unavailable
from barnabee.gpu.engines.protocols import STT_RATE_HZ, Segment, SpeechToText
from barnabee.gpu.routes.checks import Session
from barnabee.gpu.transcription_response import Heard, body

if TYPE_CHECKING:
    from barnabee.core.schema import Limits
    from barnabee.gpu.capabilities import Task
    from barnabee.gpu.model_runtime import Slot

Format = Literal["json", "text", "verbose_json"]
Granularity = Literal["word", "segment"]

DECODING_AT_ONCE = 2  # of files that are not WAV; each holds up to audio_max_s of sound

log = structlog.get_logger()


def router(task: Task[SpeechToText], limits: Limits) -> APIRouter:
    """Return the route."""
    routes = APIRouter()
    decoding = asyncio.Semaphore(DECODING_AT_ONCE)

    @routes.post("/v1/audio/transcriptions", response_model=None)
    async def transcribe(
        file: Annotated[UploadFile, File()],
        model: Annotated[str, Form()],
        language: Annotated[str, Form()] = "en",
        response_format: Annotated[Format, Form()] = "json",
        granularities: Annotated[
            list[Granularity] | None, Form(alias="timestamp_granularities[]")
        ] = None,
        stream: Annotated[bool, Form()] = False,
        session: Session = "",
    ) -> Response:
        """Return what is said in `file` (WAV, FLAC, MP3, MP4, AAC, Ogg or WebM).

        `prompt`, `temperature` and whatever else OpenAI's clients send is accepted and changes
        nothing.
        """
        slots = task.called(model)
        if stream:
            raise BadRequest(field="field `stream`", reason="an answer comes in one piece here")
        content = await file.read()
        if content[:4] in wav.MAGIC:
            sound = wav.parse(content, max_s=limits.audio_max_s)
        else:
            async with decoding:
                sound = await asyncio.to_thread(decode.decode, content, max_s=limits.audio_max_s)
        wanted = Wanted(sound, language, session, words="word" in (granularities or ()))
        heard = await _first_that_can(task, slots, wanted)
        if response_format == "text":
            return PlainTextResponse(heard.text + "\n")
        verbose = response_format == "verbose_json"
        return JSONResponse(body(heard, verbose=verbose, words=wanted.words))

    return routes


class Wanted:
    """One request: the sound, its language, whose it is, and whether times of words are asked."""

    def __init__(self, sound: wav.Wav, language: str, session: str, *, words: bool) -> None:
        """Take what was sent."""
        self.sound, self.language, self.session, self.words = sound, language, session, words


async def _first_that_can(
    task: Task[SpeechToText], slots: tuple[Slot[SpeechToText], ...], wanted: Wanted
) -> Heard:
    """Return what the first model that works has heard; when none does, the first one's error.

    A model that does not know the language is passed over, which is no failure of it.
    """
    first: BarnabeeError | None = None
    unknown: BadRequest | None = None
    for slot in slots:
        try:
            segments = await _listen(task, slot, wanted)
        except (Unavailable, Misconfigured) as error:
            log.warning("not heard", engine=slot.model, code=error.code)
            first = first or error
        except BadRequest as error:
            unknown = error
        else:
            return Heard(
                segments, wanted.language, wanted.sound.duration_s, slot.model, first is not None
            )
    raise first or unknown or BadRequest(field="field `model`", reason="it names no engine")


async def _listen(
    task: Task[SpeechToText], slot: Slot[SpeechToText], wanted: Wanted
) -> list[Segment]:
    async with task.lease(slot, wanted.session) as use:
        engine = use.engine
        if wanted.language not in engine.languages:
            raise BadRequest(field="field `language`", reason="it is not a known code")
        use.audio_s = wanted.sound.duration_s
        samples = await use.call(lambda: wav.decode(wanted.sound, STT_RATE_HZ))
        return [
            segment
            async for segment in use.each(
                lambda: engine.transcribe(samples, language=wanted.language, words=wanted.words)
            )
        ]

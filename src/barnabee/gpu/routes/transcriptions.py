"""POST /v1/audio/transcriptions: an audio file in, its transcription out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

import structlog
from fastapi import APIRouter, File, Form, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response

from barnabee.audio import wav
from barnabee.audio.samples import STT_RATE_HZ
from barnabee.core.errors import BadRequest, BarnabeeError, Misconfigured, Unavailable
from barnabee.gpu.engines.base import Segment, SpeechToText, Word
from barnabee.gpu.routes import SessionHeader

if TYPE_CHECKING:
    from barnabee.audio.decode import AudioDecoder
    from barnabee.core.schema import LimitsConfig
    from barnabee.gpu.capabilities import Capability
    from barnabee.gpu.model_runtime import ModelRuntime

ResponseFormat = Literal["json", "text", "verbose_json"]
Granularity = Literal["word", "segment"]

log = structlog.get_logger()


def make_router(
    capability: Capability[SpeechToText], decoder: AudioDecoder, limits: LimitsConfig
) -> APIRouter:
    routes = APIRouter()

    @routes.post("/v1/audio/transcriptions", response_model=None)
    async def transcribe(
        file: Annotated[UploadFile, File()],
        model: Annotated[str, Form()],
        language: Annotated[str, Form()] = "en",
        response_format: Annotated[ResponseFormat, Form()] = "json",
        granularities: Annotated[
            list[Granularity] | None, Form(alias="timestamp_granularities[]")
        ] = None,
        stream: Annotated[bool, Form()] = False,
        session: SessionHeader = "",
    ) -> Response:
        """Transcribe `file` (WAV, FLAC, MP3, MP4, AAC, Ogg or WebM).

        Other fields of OpenAI's API, such as `prompt` and `temperature`, are accepted and ignored.
        """
        runtimes = capability.find_runtimes(model)
        if stream:
            raise BadRequest(field="field `stream`", reason="streamed responses are not supported")
        content = await file.read()
        if content[:4] in wav.MAGIC:
            audio = wav.parse(content, max_s=limits.audio_max_s)
        else:
            audio = await decoder.decode(content)
        request = TranscriptionRequest(audio, language, session, "word" in (granularities or ()))
        transcription = await _transcribe_with_fallback(capability, runtimes, request)
        if response_format == "text":
            return PlainTextResponse(transcription.text + "\n")
        verbose = response_format == "verbose_json"
        body = make_response_body(transcription, verbose=verbose, words=request.words)
        return JSONResponse(body)

    return routes


@dataclass(frozen=True, slots=True)
class TranscriptionRequest:
    """Audio to transcribe; `words` asks for the time of each word."""

    audio: wav.Wav
    language: str
    session: str
    words: bool


@dataclass(frozen=True, slots=True)
class Transcription:
    """Result of one engine; `degraded` when a preferred engine failed."""

    segments: Sequence[Segment]
    language: str
    duration_s: float
    engine: str
    degraded: bool

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()

    @property
    def confidence(self) -> float | None:
        """Geometric mean of the segments' probabilities, 0 to 1; None without segments."""
        if not self.segments:
            return None
        logs = [segment.average_log_probability for segment in self.segments]
        return min(1.0, math.exp(sum(logs) / len(logs)))


async def _transcribe_with_fallback(
    capability: Capability[SpeechToText],
    runtimes: tuple[ModelRuntime[SpeechToText], ...],
    request: TranscriptionRequest,
) -> Transcription:
    """Transcribe with the first model that works; when none does, raise the first error.

    A model that does not know the language is skipped, which does not count as degraded.
    """
    first_error: BarnabeeError | None = None
    language_error: BadRequest | None = None
    for runtime in runtimes:
        try:
            segments = await _transcribe(capability, runtime, request)
        except (Unavailable, Misconfigured) as error:
            log.warning("transcription failed", engine=runtime.model_id, code=error.code)
            first_error = first_error or error
        except BadRequest as error:
            language_error = error
        else:
            return Transcription(
                segments,
                request.language,
                request.audio.duration_s,
                runtime.model_id,
                degraded=first_error is not None,
            )
    raise (
        first_error
        or language_error
        or BadRequest(field="field `model`", reason="it names no engine")
    )


async def _transcribe(
    capability: Capability[SpeechToText],
    runtime: ModelRuntime[SpeechToText],
    request: TranscriptionRequest,
) -> list[Segment]:
    async with capability.lease(runtime, request.session) as lease:
        engine = lease.engine
        if request.language not in engine.languages:
            raise BadRequest(field="field `language`", reason="it is not a known code")
        lease.audio_s = request.audio.duration_s
        samples = await lease.run(lambda: wav.decode(request.audio, STT_RATE_HZ))
        segments = lease.iterate(
            lambda: engine.transcribe(samples, language=request.language, words=request.words)
        )
        return [segment async for segment in segments]


def make_response_body(
    transcription: Transcription, *, verbose: bool, words: bool
) -> dict[str, Any]:
    """Return the JSON body of OpenAI's API; `verbose` adds segments, and words if requested."""
    confidence = transcription.confidence
    body: dict[str, Any] = {
        "text": transcription.text,
        "language": transcription.language,
        "duration": round(transcription.duration_s, 3),
        "engine": transcription.engine,
        "degraded": transcription.degraded,
        "confidence": None if confidence is None else round(confidence, 4),
    }
    if verbose:
        segments = transcription.segments
        rows = [_make_segment_row(*pair) for pair in enumerate(segments)]
        body |= {"task": "transcribe", "segments": rows}
        if words:
            body["words"] = [_make_word_row(word) for part in segments for word in part.words]
    return body


def _make_segment_row(number: int, segment: Segment) -> dict[str, object]:
    return {
        "id": number,
        "start": round(segment.start_s, 3),
        "end": round(segment.end_s, 3),
        "text": segment.text,
        "avg_logprob": round(segment.average_log_probability, 4),
        "no_speech_prob": round(segment.no_speech_probability, 4),
        "confidence": round(segment.confidence, 4),
    }


def _make_word_row(word: Word) -> dict[str, object]:
    return {
        "word": word.text.strip(),
        "start": round(word.start_s, 3),
        "end": round(word.end_s, 3),
        "confidence": round(word.confidence, 4),
    }

"""Requests of one Wyoming connection, answered by the other services.

describe                          the programs, voices and wake words
transcribe, audio-*               transcript
synthesize                        audio-*
synthesize-start, -chunk, -stop   audio-* sentence by sentence, then synthesize-stopped
detect, audio-*                   detection at once, or not-detected at audio-stop
transcript                        handled: the sentence is a command
ping                              pong
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Final, Self

from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart
from wyoming.event import Event
from wyoming.handle import Handled, NotHandled
from wyoming.ping import Pong
from wyoming.tts import Synthesize, SynthesizeStart, SynthesizeStopped, SynthesizeVoice
from wyoming.wake import Detect

from barnabee.clients.api import ApiClient
from barnabee.clients.gpu import GpuClient
from barnabee.clients.load_balancer import WakeServerPool
from barnabee.clients.service_client import TokenSource
from barnabee.clients.wake import WakeClient
from barnabee.core import tracing
from barnabee.core.errors import BadRequest
from barnabee.core.schema import System
from barnabee.wyoming.events import make_info
from barnabee.wyoming.streams import Sender, SpeechStream, Utterance, WakeStream

ROOM = "wyoming"
_NO_ID = re.compile(r"[^A-Za-z0-9_.:-]")
# Names of the requests that these events complete, in metrics.
_COMPLETED: Final = {
    "describe": "describe",
    "synthesize": "synthesize",
    "synthesize-stop": "synthesize",
    "transcript": "handle",
}


@dataclass(frozen=True)
class Services:
    """What the requests of all connections are answered with."""

    system: System
    api: ApiClient
    gpu: GpuClient
    wake_servers: WakeServerPool
    token: TokenSource  # of the wake word service


class RequestHandler:
    """State of one connection; a context manager, whose end stops what still runs."""

    def __init__(self, connection: Sender, services: Services) -> None:
        self._connection, self._services = connection, services
        self._stack = AsyncExitStack()
        self._audio: Utterance | WakeStream | None = None
        self._stream: SpeechStream | None = None
        self._session = tracing.new_trace_id()
        self._handlers: Mapping[str, Callable[[Event], Awaitable[None]]] = {
            "describe": self._describe,
            "ping": self._ping,
            "transcribe": self._begin_utterance,
            "detect": self._begin_detection,
            "audio-start": self._start_audio,
            "audio-chunk": self._add_audio,
            "audio-stop": self._stop_audio,
            "synthesize": self._synthesize,
            "synthesize-start": self._start_speech,
            "synthesize-chunk": self._add_text,
            "synthesize-stop": self._stop_speech,
            "transcript": self._run_command,
        }

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    def knows(self, kind: str) -> bool:
        """Return whether there is something to do for events of this type."""
        return kind in self._handlers

    def name_request(self, kind: str) -> str | None:
        """Return the name of the request that an event of this type would complete now."""
        if kind == "audio-stop":
            return "detect" if isinstance(self._audio, WakeStream) else "transcribe"
        return _COMPLETED.get(kind)

    async def handle(self, event: Event) -> None:
        """Answer one event; raises BarnabeeError."""
        try:
            await self._handlers[event.type](event)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            reason = f"a field is missing or has the wrong type ({error})"
            raise BadRequest(field=f"event `{event.type}`", reason=reason) from error

    async def _describe(self, _event: Event) -> None:
        voices = await self._services.gpu.read_voices()
        system = self._services.system
        names = dict.fromkeys((system.voice.name, *voices))
        await self._connection.send(make_info(list(names), system.wake.words))

    async def _ping(self, event: Event) -> None:
        await self._connection.send(Pong(text=event.data.get("text")))

    # ---- speech to text and wake words: audio from the client --------------------------------

    async def _begin_utterance(self, event: Event) -> None:
        await self._end_audio()
        language = Transcribe.from_event(event).language
        self._audio = Utterance(self._services.system.limits.audio_max_s, language or "en")

    async def _begin_detection(self, event: Event) -> None:
        await self._end_audio()
        words = Detect.from_event(event).names or ()
        client = WakeClient(
            self._services.wake_servers, self._services.token, room=ROOM, words=tuple(words)
        )
        stream = WakeStream(await self._stack.enter_async_context(client), self._connection)
        self._stack.callback(stream.cancel)
        self._audio = stream

    async def _start_audio(self, event: Event) -> None:
        start = AudioStart.from_event(event)
        self._require_audio().start(start)

    async def _add_audio(self, event: Event) -> None:
        chunk = AudioChunk.from_event(event)
        await self._require_audio().add(chunk)

    async def _stop_audio(self, _event: Event) -> None:
        audio = self._require_audio()
        self._audio = None
        if isinstance(audio, WakeStream):
            await audio.stop()
            await self._end_audio()
            return
        found = await self._services.gpu.transcribe(audio.to_wav(), language=audio.language)
        await self._connection.send(Transcript(text=found.text, language=found.language))

    def _require_audio(self) -> Utterance | WakeStream:
        """Return where audio goes: Home Assistant always sends `transcribe` or `detect` first."""
        if self._audio is None:
            self._audio = Utterance(self._services.system.limits.audio_max_s, "en")
        return self._audio

    async def _end_audio(self) -> None:
        self._audio = None
        await self._stack.aclose()

    # ---- text to speech ----------------------------------------------------------------------

    async def _synthesize(self, event: Event) -> None:
        if self._stream is not None:
            return  # the same text once more, for servers that do not stream
        request = Synthesize.from_event(event)
        speech = self._make_speech(request.voice)
        await speech.say(request.text)
        await speech.finish()

    async def _start_speech(self, event: Event) -> None:
        self._stream = self._make_speech(SynthesizeStart.from_event(event).voice)

    async def _add_text(self, event: Event) -> None:
        stream = self._stream
        if stream is None:
            raise BadRequest(field="event", reason="synthesize-start must come first")
        for sentence in stream.text.feed(str(event.data["text"])):
            await stream.say(sentence)

    async def _stop_speech(self, _event: Event) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            for sentence in stream.text.finish():
                await stream.say(sentence)
            await stream.finish()
        await self._connection.send(SynthesizeStopped())

    def _make_speech(self, voice: SynthesizeVoice | None) -> SpeechStream:
        rate_hz = self._services.system.voice.sample_rate_hz
        name = voice.name if voice is not None else None
        return SpeechStream(self._services.gpu, self._connection, name, rate_hz)

    # ---- commands ----------------------------------------------------------------------------

    async def _run_command(self, event: Event) -> None:
        request = Transcript.from_event(event)
        context = request.context or {}
        session = _NO_ID.sub("_", str(context.get("conversation_id") or self._session))[:64]
        device = context.get("device_id")  # of the satellite; the api knows its area
        room = _NO_ID.sub("_", str(device))[:64] if device else None
        reply = await self._services.api.command(request.text, session, room=room)
        answer = NotHandled if reply.code else Handled
        await self._connection.send(answer(text=reply.reply, context=request.context))

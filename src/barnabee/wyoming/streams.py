"""Audio of one Wyoming connection: utterances, wake word detection, and synthesized speech."""

from __future__ import annotations

import asyncio
import io
import time
import wave
from contextlib import aclosing, suppress
from typing import Protocol

from wyoming.audio import AudioChunk, AudioFormat, AudioStart, AudioStop
from wyoming.event import Event, Eventable
from wyoming.wake import Detection, NotDetected

from barnabee.clients.gpu import GpuClient
from barnabee.clients.wake import WakeClient
from barnabee.core.errors import BadRequest, TimedOut, TooLarge
from barnabee.understanding.spoken_text import SpokenText

RATES_HZ = range(8_000, 192_001)
WIDTHS, CHANNELS = range(1, 5), range(1, 9)
WAKE_FORMAT = AudioFormat(rate=16_000, width=2, channels=1)
LAST_WAKE_S = 0.5  # for a wake word in the last audio before audio-stop
AHEAD_S = 0.5  # by which audio for wake words may be ahead of real time
SPEECH_WIDTH, SPEECH_CHANNELS = 2, 1
CHUNK_BYTES = 8192  # clients buffer whole events; a multiple of SPEECH_WIDTH


class Sender(Protocol):
    """The connection to one client."""

    async def send(self, message: Eventable | Event) -> None: ...


class Utterance:
    """Audio of one sentence, up to a maximal length, in the format that the client sends."""

    def __init__(self, max_s: int, language: str) -> None:
        self.language = language
        self._max_s = max_s
        self._format = WAKE_FORMAT
        self._pcm = bytearray()

    def start(self, form: AudioFormat) -> None:
        """Set the format; BadRequest when there is no such audio."""
        for name, value, allowed in (
            ("rate", form.rate, RATES_HZ),
            ("width", form.width, WIDTHS),
            ("channels", form.channels, CHANNELS),
        ):
            if value not in allowed:
                reason = f"it is not between {allowed.start} and {allowed.stop - 1}"
                raise BadRequest(field=f"field `{name}`", reason=reason)
        self._format = AudioFormat(form.rate, form.width, form.channels)
        self._pcm.clear()

    async def add(self, chunk: AudioChunk) -> None:
        """Add audio; TooLarge when it is longer than the limit."""
        if not self._pcm:
            self.start(chunk)
        self._pcm += chunk.audio
        frame_bytes = self._format.width * self._format.channels
        if len(self._pcm) > self._max_s * self._format.rate * frame_bytes:
            self._pcm.clear()
            raise TooLarge(field="audio", limit=f"{self._max_s} s")

    def to_wav(self) -> bytes:
        """Return the audio as a file."""
        frame_bytes = self._format.width * self._format.channels
        file = io.BytesIO()
        with wave.open(file, "wb") as writer:
            writer.setparams(
                (self._format.channels, self._format.width, self._format.rate, 0, "NONE", "")
            )
            writer.writeframes(self._pcm[: len(self._pcm) // frame_bytes * frame_bytes])
        return file.getvalue()


class WakeStream:
    """Audio in which wake words are detected, until the first one."""

    def __init__(self, client: WakeClient, connection: Sender) -> None:
        self._client, self._connection = client, connection
        self._start_s, self._sent_bytes, self._first_ms = time.monotonic(), 0, 0
        self._detection = asyncio.create_task(self._report_first())

    def start(self, form: AudioFormat) -> None:
        """BadRequest for another format than that of every microphone client."""
        if (form.rate, form.width, form.channels) != (16_000, 2, 1):
            reason = "wake words are detected at 16000 Hz, 2 bytes, 1 channel"
            raise BadRequest(field="audio format", reason=reason)

    async def add(self, chunk: AudioChunk) -> None:
        """Pass audio on, at most `AHEAD_S` faster than a microphone."""
        self.start(chunk)
        if not self._sent_bytes:
            self._start_s, self._first_ms = time.monotonic(), chunk.timestamp or 0
        self._client.send_audio(chunk.audio)
        self._sent_bytes += len(chunk.audio)
        sent_s = self._sent_bytes / (WAKE_FORMAT.rate * WAKE_FORMAT.width)
        ahead_s = sent_s - (time.monotonic() - self._start_s)
        if ahead_s > AHEAD_S:
            await asyncio.sleep(ahead_s - AHEAD_S)

    async def stop(self) -> None:
        """Say that there was no wake word, if there was none; DependencyDown without detection."""
        done, _ = await asyncio.wait([self._detection], timeout=LAST_WAKE_S)
        if not done:
            self.cancel()
            await self._client.ready()
            await self._connection.send(NotDetected())

    def cancel(self) -> None:
        """Detect nothing more."""
        self._detection.cancel()

    async def _report_first(self) -> None:
        async for wake in self._client:
            at_ms = self._first_ms + wake.at_ms
            with suppress(OSError, TimedOut):  # the client left
                await self._connection.send(Detection(name=wake.word, timestamp=at_ms))
            return


class SpeechStream:
    """Synthesized speech on its way to the client: one audio stream for all sentences."""

    def __init__(self, gpu: GpuClient, connection: Sender, voice: str | None, rate_hz: int) -> None:
        self.text = SpokenText()
        self._gpu, self._connection, self._voice = gpu, connection, voice
        self._form = {"rate": rate_hz, "width": SPEECH_WIDTH, "channels": SPEECH_CHANNELS}
        self._sent_frames = 0
        self._is_started = False

    async def say(self, text: str) -> None:
        """Send `text` as speech, as it is computed."""
        rest = b""
        async with aclosing(self._gpu.speak(text, voice=self._voice, format="pcm")) as speech:
            async for received in speech:
                pcm = rest + received
                whole = len(pcm) // SPEECH_WIDTH * SPEECH_WIDTH
                rest = pcm[whole:]
                for start in range(0, whole, CHUNK_BYTES):
                    await self._send_chunk(pcm[start : min(whole, start + CHUNK_BYTES)])

    async def finish(self) -> None:
        """End the stream."""
        await self._start()
        await self._connection.send(AudioStop())

    async def _send_chunk(self, pcm: bytes) -> None:
        await self._start()
        at_ms = self._sent_frames * 1000 // self._form["rate"]
        await self._connection.send(AudioChunk(**self._form, audio=pcm, timestamp=at_ms))
        self._sent_frames += len(pcm) // SPEECH_WIDTH

    async def _start(self) -> None:
        if not self._is_started:
            self._is_started = True
            await self._connection.send(AudioStart(**self._form))

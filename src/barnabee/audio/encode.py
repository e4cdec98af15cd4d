"""Turns 16-bit mono sound into what was asked for, piece by piece: WAV, PCM, MP3, Opus, AAC, FLAC.

WAV and PCM cost nothing; the others go through PyAV (FFmpeg) and block for some milliseconds a
second of sound: call `feed` and `finish` off the event loop.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, Protocol, cast

import numpy as np

from barnabee.audio import wav

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.container import OutputContainer

Format = Literal["mp3", "opus", "aac", "flac", "wav", "pcm"]
MEDIA_TYPES: dict[Format, str] = {
    "mp3": "audio/mpeg",
    "opus": "audio/ogg",
    "aac": "audio/aac",
    "flac": "audio/flac",
    "wav": "audio/wav",
    "pcm": "audio/pcm",
}
# container, codec, bits a second (speech is transparent at these), options
_PACKED: dict[str, tuple[str, str, int, dict[str, str]]] = {
    "mp3": ("mp3", "libmp3lame", 64_000, {}),
    "opus": ("ogg", "libopus", 32_000, {"page_duration": "100000"}),  # us: Ogg waits for a page
    "aac": ("adts", "aac", 64_000, {}),
    "flac": ("flac", "flac", 0, {}),
}


class Encoder(Protocol):
    """One sound on its way out."""

    blocks: bool

    def feed(self, pcm: bytes) -> bytes:
        """Take signed 16-bit little-endian mono; return what can be sent already."""

    def finish(self) -> bytes:
        """Return the rest."""


def make(wanted: Format, rate_hz: int) -> Encoder:
    """Return an encoder; nothing is imported before it is fed."""
    if wanted in _PACKED:
        return Packed(wanted, rate_hz)
    return Plain(wav.header(rate_hz) if wanted == "wav" else b"")


@dataclass
class Plain:
    """The sound as it is, after `head`."""

    head: bytes
    blocks = False

    def feed(self, pcm: bytes) -> bytes:
        """Return `pcm`, the head before the first."""
        head, self.head = self.head, b""
        return head + pcm

    def finish(self) -> bytes:
        """Return nothing."""
        return self.head


class Packed:
    """The sound in a codec and its container, written to nowhere one could go back to."""

    blocks = True

    def __init__(self, wanted: str, rate_hz: int) -> None:
        """Remember what is wanted."""
        self._wanted, self._rate_hz = wanted, rate_hz
        self._sink = _Sink()
        self._open: tuple[OutputContainer, AudioStream] | None = None
        self._position = 0

    def feed(self, pcm: bytes) -> bytes:
        """Encode a piece."""
        import av  # noqa: PLC0415 - heavy, and WAV and PCM need none

        container, stream = self._open = self._open or self._begin()
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = self._rate_hz, self._position
        self._position += samples.size
        container.mux(stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        """Return what the codec still held, and close."""
        if self._open is None:
            return b""
        container, stream = self._open
        self._open = None
        container.mux(stream.encode(None))
        container.close()
        return self._sink.take()

    def _begin(self) -> tuple[OutputContainer, AudioStream]:
        import av  # noqa: PLC0415 - see `feed`

        form, codec, bits, options = _PACKED[self._wanted]
        container = av.open(self._sink, "w", format=form, options={"flush_packets": "1"} | options)
        stream = cast("AudioStream", container.add_stream(codec, rate=self._rate_hz, layout="mono"))
        if bits:
            stream.bit_rate = bits
        return container, stream


class _Sink:
    """A file that can only be written; `take` empties it."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken

"""Streaming audio encoders: 16-bit mono PCM to WAV, PCM, MP3, Opus, AAC and FLAC.

All but WAV and PCM use PyAV (FFmpeg) and block for some milliseconds per second of audio: call
`feed` and `finish` off the event loop.
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
# container, codec, bits per second (transparent for speech), options
_CODECS: dict[str, tuple[str, str, int, dict[str, str]]] = {
    "mp3": ("mp3", "libmp3lame", 64_000, {}),
    "opus": (
        "ogg",
        "libopus",
        32_000,
        {"page_duration": "100000"},
    ),  # us: a page is sent only when full
    "aac": ("adts", "aac", 64_000, {}),
    "flac": ("flac", "flac", 0, {}),
}


class Encoder(Protocol):
    """Encoder of one stream; `blocks` tells whether calls take noticeable time."""

    blocks: bool

    def feed(self, pcm: bytes) -> bytes:
        """Encode signed 16-bit little-endian mono; return what can be sent already."""

    def finish(self) -> bytes:
        """Return the remaining bytes."""


def make_encoder(audio_format: Format, rate_hz: int) -> Encoder:
    """Return an encoder; codec libraries are imported at its first `feed`."""
    if audio_format in _CODECS:
        return CodecEncoder(audio_format, rate_hz)
    return PcmEncoder(wav.make_header(rate_hz) if audio_format == "wav" else b"")


@dataclass
class PcmEncoder:
    """Passes PCM through, after a header."""

    header: bytes
    blocks = False

    def feed(self, pcm: bytes) -> bytes:
        header, self.header = self.header, b""
        return header + pcm

    def finish(self) -> bytes:
        return self.header


class CodecEncoder:
    """Encodes with a codec into a container that is never rewound."""

    blocks = True

    def __init__(self, audio_format: str, rate_hz: int) -> None:
        self._format, self._rate_hz = audio_format, rate_hz
        self._sink = _Sink()
        self._open: tuple[OutputContainer, AudioStream] | None = None
        self._position = 0

    def feed(self, pcm: bytes) -> bytes:
        import av  # noqa: PLC0415 - heavy, and WAV and PCM need none

        container, stream = self._open = self._open or self._open_container()
        samples = np.frombuffer(pcm, "<i2").reshape(1, -1)
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate, frame.pts = self._rate_hz, self._position
        self._position += samples.size
        container.mux(stream.encode(frame))
        return self._sink.take()

    def finish(self) -> bytes:
        if self._open is None:
            return b""
        container, stream = self._open
        self._open = None
        container.mux(stream.encode(None))
        container.close()
        return self._sink.take()

    def _open_container(self) -> tuple[OutputContainer, AudioStream]:
        import av  # noqa: PLC0415 - see `feed`

        container_name, codec, bits, options = _CODECS[self._format]
        container = av.open(
            self._sink, "w", format=container_name, options={"flush_packets": "1"} | options
        )
        stream = cast("AudioStream", container.add_stream(codec, rate=self._rate_hz, layout="mono"))
        if bits:
            stream.bit_rate = bits
        return container, stream


class _Sink:
    """Write-only file; `take` returns and clears what was written."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []

    def write(self, part: bytes) -> int:
        self._parts.append(bytes(part))
        return len(part)

    def take(self) -> bytes:
        taken = b"".join(self._parts)
        self._parts.clear()
        return taken

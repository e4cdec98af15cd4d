"""Reads sound in what is not WAV: MP3, MP4, AAC, FLAC, Ogg and WebM, through PyAV (FFmpeg).

Blocks: call it off the event loop. Takes nothing on trust: the container is known by its first
bytes and no other reader is tried (some of FFmpeg's open files and addresses that a file names),
only common codecs are decoded, and it stops at the limits of length and time however small the file
is. A file that is cut off or damaged further on is read as far as it goes.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from barnabee.audio import wav
from barnabee.core.errors import InvalidAudio, TooLarge
from barnabee.gpu.engines.protocols import STT_RATE_HZ

if TYPE_CHECKING:
    from av import AudioFrame
    from av.container import InputContainer

# A file of 300 s takes 0.3 to 0.6 s; one that takes longer than this is made to.
DECODING_LIMIT_S = 20.0
KNOWN = "WAV, FLAC, MP3, MP4, AAC, Ogg or WebM"
_CODECS = frozenset(
    {"mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "aac", "alac", "flac"}
    | {"opus", "libopus", "vorbis", "pcm_s16le", "pcm_f32le"}
)


def kind_of(content: bytes) -> str | None:
    """Return FFmpeg's name of the container that begins like this; None for any other. Pure."""
    head = content[:12]
    if head[4:8] == b"ftyp":
        return "mov"
    for start, name in (
        (b"ID3", "mp3"),
        (b"fLaC", "flac"),
        (b"OggS", "ogg"),
        (b"\x1a\x45\xdf\xa3", "matroska"),
    ):
        if head.startswith(start):
            return name
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004 - sync word
        return None
    return "mp3" if head[1] & 0x06 else "aac"  # the layer of MPEG audio; AAC's is 0


def decode(content: bytes, *, max_s: int, clock: Callable[[], float] = time.monotonic) -> wav.Wav:
    """Return the sound as 16 kHz mono; InvalidAudio, or TooLarge when longer than `max_s`."""
    kind = kind_of(content)
    if kind is None:
        raise InvalidAudio(reason=f"it is not a WAV file, nor any other of {KNOWN}")
    import av  # noqa: PLC0415 - heavy, and most callers send WAV
    from av.error import FFmpegError  # noqa: PLC0415 - the same

    until_s = clock() + DECODING_LIMIT_S
    pieces: list[bytes] = []
    count, trouble = 0, "nothing in it can be decoded"
    try:
        with av.open(
            io.BytesIO(content), "r", format=kind, options=_options(kind), metadata_errors="ignore"
        ) as container:
            for piece in _pieces(container):
                pieces.append(piece)
                count += len(piece) // 4
                if count > max_s * STT_RATE_HZ:
                    raise TooLarge(field=f"sound in `file` (over {max_s} s)", limit=f"{max_s} s")
                if clock() > until_s:
                    raise InvalidAudio(reason="it takes too long to decode")
    except (FFmpegError, OSError, ValueError, MemoryError) as error:
        trouble = str(getattr(error, "strerror", None) or error)
    if not count:
        raise InvalidAudio(reason=f"it cannot be read as {kind} ({trouble})")
    return wav.Wav(wav.FLOAT, 1, STT_RATE_HZ, 32, memoryview(b"".join(pieces)))


def _options(kind: str) -> dict[str, str]:
    """Return what keeps a container from reaching beyond itself."""
    return {"enable_drefs": "0", "use_absolute_path": "0"} if kind == "mov" else {}


def _pieces(container: InputContainer) -> Iterator[bytes]:
    """Yield 16 kHz mono float32 as it is decoded; an empty piece where a packet gave no sound."""
    import av  # noqa: PLC0415 - see `decode`
    from av.error import FFmpegError  # noqa: PLC0415 - the same

    if not container.streams.audio:
        raise InvalidAudio(reason="there is no sound in it")
    stream = container.streams.audio[0]
    if stream.codec_context is None or stream.codec_context.name not in _CODECS:
        name = stream.codec_context.name if stream.codec_context else "unknown"
        raise InvalidAudio(reason=f"its codec {name} is none of the common ones")
    # The channels are averaged here: FFmpeg's own mixing makes sound on both 3 dB louder.
    resampler = av.AudioResampler(format="fltp", rate=STT_RATE_HZ)
    for packet in container.demux(stream):
        yield b""
        try:
            frames = packet.decode()
        except FFmpegError:  # one damaged packet is a moment of silence less, not the end
            continue
        for frame in frames:
            yield from map(_mono, resampler.resample(frame))
    yield from map(_mono, resampler.resample(None))


def _mono(frame: AudioFrame) -> bytes:
    mixed: bytes = frame.to_ndarray().mean(axis=0, dtype=np.float32).tobytes()
    return mixed

"""Audio file decoder for MP3, MP4, AAC, FLAC, Ogg and WebM, through PyAV (FFmpeg).

Blocks: call it off the event loop. Input is not trusted: the container is determined by its first
bytes and no other demuxer is tried (some of FFmpeg's open files and URLs that a file names), only
common codecs are decoded, and limits of duration and time apply whatever the file's size. A file
that is truncated or damaged is read as far as it goes.
"""

from __future__ import annotations

import io
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from barnabee.audio import wav
from barnabee.audio.samples import STT_RATE_HZ
from barnabee.core.errors import InvalidAudio, TooLarge

if TYPE_CHECKING:
    from av import AudioFrame
    from av.container import InputContainer

# 300 s of audio take 0.3 to 0.6 s; a file that takes longer than this is malicious.
DECODE_TIMEOUT_S = 20.0
KNOWN_FORMATS = "WAV, FLAC, MP3, MP4, AAC, Ogg or WebM"
_CODECS = frozenset(
    {"mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "aac", "alac", "flac"}
    | {"opus", "libopus", "vorbis", "pcm_s16le", "pcm_f32le"}
)


def detect_container(content: bytes) -> str | None:
    """Return FFmpeg's name of the container by its first bytes; None if unknown. Pure."""
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


def decode_file(
    content: bytes, *, max_s: int, clock: Callable[[], float] = time.monotonic
) -> wav.Wav:
    """Return 16 kHz mono audio; InvalidAudio, or TooLarge when longer than `max_s`."""
    kind = detect_container(content)
    if kind is None:
        raise InvalidAudio(reason=f"its format is unknown; supported are {KNOWN_FORMATS}")
    import av  # noqa: PLC0415 - heavy, and most callers send WAV
    from av.error import FFmpegError  # noqa: PLC0415 - the same

    deadline_s = clock() + DECODE_TIMEOUT_S
    pieces: list[bytes] = []
    count, problem = 0, "it contains nothing that can be decoded"
    try:
        with av.open(
            io.BytesIO(content),
            "r",
            format=kind,
            options=_make_options(kind),
            metadata_errors="ignore",
        ) as container:
            for piece in _decode_stream(container):
                pieces.append(piece)
                count += len(piece) // 4
                if count > max_s * STT_RATE_HZ:
                    raise TooLarge(field=f"sound in `file` (over {max_s} s)", limit=f"{max_s} s")
                if clock() > deadline_s:
                    raise InvalidAudio(reason="it takes too long to decode")
    except (FFmpegError, OSError, ValueError, MemoryError) as error:
        problem = str(getattr(error, "strerror", None) or error)
    if not count:
        raise InvalidAudio(reason=f"it cannot be read as {kind} ({problem})")
    return wav.Wav(wav.FLOAT, 1, STT_RATE_HZ, 32, memoryview(b"".join(pieces)))


def _make_options(kind: str) -> dict[str, str]:
    """Return options that keep a demuxer from opening other files."""
    return {"enable_drefs": "0", "use_absolute_path": "0"} if kind == "mov" else {}


def _decode_stream(container: InputContainer) -> Iterator[bytes]:
    """Yield 16 kHz mono float32 bytes per packet, empty ones too so that limits are checked."""
    import av  # noqa: PLC0415 - see `decode_file`
    from av.error import FFmpegError  # noqa: PLC0415 - the same

    if not container.streams.audio:
        raise InvalidAudio(reason="it contains no audio")
    stream = container.streams.audio[0]
    if stream.codec_context is None or stream.codec_context.name not in _CODECS:
        name = stream.codec_context.name if stream.codec_context else "unknown"
        raise InvalidAudio(reason=f"its codec {name} is not supported")
    # Channels are averaged here: FFmpeg's own downmix is 3 dB louder.
    resampler = av.AudioResampler(format="fltp", rate=STT_RATE_HZ)
    for packet in container.demux(stream):
        yield b""
        try:
            frames = packet.decode()
        except FFmpegError:  # skip a damaged packet
            continue
        for frame in frames:
            yield from map(_to_mono, resampler.resample(frame))
    yield from map(_to_mono, resampler.resample(None))


def _to_mono(frame: AudioFrame) -> bytes:
    mixed: bytes = frame.to_ndarray().mean(axis=0, dtype=np.float32).tobytes()
    return mixed

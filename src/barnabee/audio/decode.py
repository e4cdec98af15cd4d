"""Audio file decoder for MP3, MP4, AAC, FLAC, Ogg and WebM.

Input is not trusted: the container is determined by its first bytes, and all else happens in a
process with limits of memory and time, see `decoder_process`.
"""

from __future__ import annotations

import asyncio
import socket
import sys
from contextlib import suppress
from pathlib import Path

from barnabee.audio import wav
from barnabee.audio.samples import STT_RATE_HZ
from barnabee.core.errors import DependencyDown, InvalidAudio, TooLarge

KNOWN_FORMATS = "WAV, FLAC, MP3, MP4, AAC, Ogg or WebM"
MAX_CONCURRENT = 2
# Longer than a child lives, which ends by itself.
ANSWER_LIMIT_S = 25.0
_EXIT_LIMIT_S = 0.1
_PROGRAM = Path(__file__).with_name("decoder_process.py")
_TOO_LONG = b"too long"
_REASON_MAX_BYTES = 1024
_PIECE_BYTES = 2**18


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


class AudioDecoder:
    """Decodes files in children of a fork server, which starts with the first file."""

    def __init__(self, *, max_s: int) -> None:
        self._max_s = max_s
        self._children = asyncio.Semaphore(MAX_CONCURRENT)
        self._starting = asyncio.Lock()
        self._control: socket.socket | None = None
        self._process: asyncio.subprocess.Process | None = None

    async def decode(self, content: bytes) -> wav.Wav:
        """Return 16 kHz mono audio; InvalidAudio, or TooLarge when longer than `max_s`."""
        container = detect_container(content)
        if container is None:
            raise InvalidAudio(reason=f"its format is unknown; supported are {KNOWN_FORMATS}")
        async with self._children:
            reader, writer = await self._open_child()
            try:
                async with asyncio.timeout(ANSWER_LIMIT_S):
                    with suppress(ConnectionError):  # the child is gone: its answer is empty
                        await _send(writer, f"{container} {self._max_s}\n".encode(), content)
                    answer = await self._receive(reader)
            except TimeoutError:
                answer = b""
            finally:
                writer.transport.abort()
            if not answer:
                await self._require_server()
        return self._parse_answer(answer)

    async def aclose(self) -> None:
        """End the fork server; children end when they next write."""
        if self._control is not None:
            self._control.close()
        if self._process is not None:
            await self._process.wait()
        self._control = self._process = None

    async def _open_child(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        ours, theirs = socket.socketpair()
        with theirs:
            async with self._starting:
                if self._control is None or not _hand_over(self._control, theirs):
                    self._control = await self._start_server()
                    _hand_over(self._control, theirs)
        return await asyncio.open_unix_connection(sock=ours)

    async def _start_server(self) -> socket.socket:
        await self.aclose()
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-I", str(_PROGRAM), str(theirs.fileno())),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                pass_fds=(theirs.fileno(),),
                env={},  # no secret and no path of ours
            )
        return ours

    async def _require_server(self) -> None:
        """Raise DependencyDown when the fork server has ended, not only the child."""
        if self._process is not None:
            with suppress(TimeoutError):
                async with asyncio.timeout(_EXIT_LIMIT_S):
                    status = await self._process.wait()
                    reason = f"it ended with status {status}"
                    raise DependencyDown(dependency="audio decoder", reason=reason)

    async def _receive(self, reader: asyncio.StreamReader) -> bytes:
        answer, limit = bytearray(), self._max_s * STT_RATE_HZ * 2 + _REASON_MAX_BYTES
        with suppress(ConnectionError):
            while len(answer) <= limit and (piece := await reader.read(_PIECE_BYTES)):
                answer += piece
        return bytes(answer)

    def _parse_answer(self, answer: bytes) -> wav.Wav:
        reason, end, pcm = answer.partition(b"\n")
        if not end:
            raise InvalidAudio(reason="decoding it takes too much memory or time")
        if reason == _TOO_LONG:
            limit = f"{self._max_s} s"
            raise TooLarge(field=f"sound in `file` (over {limit})", limit=limit)
        if reason:
            raise InvalidAudio(reason=reason[:_REASON_MAX_BYTES].decode(errors="replace"))
        return wav.Wav(wav.PCM, 1, STT_RATE_HZ, 16, memoryview(pcm))


def _hand_over(control: socket.socket, connection: socket.socket) -> bool:
    """Send a socket to the fork server; return whether it is there."""
    try:
        socket.send_fds(control, [b"f"], [connection.fileno()])
    except OSError:
        return False
    return True


async def _send(writer: asyncio.StreamWriter, header: bytes, content: bytes) -> None:
    writer.write(header)
    for start in range(0, len(content), _PIECE_BYTES):
        writer.write(content[start : start + _PIECE_BYTES])
        await writer.drain()
    writer.write_eof()

"""Fork server that decodes audio files with PyAV (FFmpeg), each in a child with limits of its own.

`decode.AudioDecoder` runs this file by its path with `python -I`: it imports nothing of ours, and
PyAV once. The first argument is the descriptor of a socket. Each message on it carries a socket,
which a new child serves: it reads a line `CONTAINER MAX_S` and the file up to the end of the
stream, and answers with a line, empty or the reason of a refusal, and 16-bit mono PCM at 16 kHz.
A child that exceeds a limit ends without an answer.
"""

from __future__ import annotations

import ctypes
import io
import os
import resource
import signal
import socket
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, cast

import av
from av.error import FFmpegError
from av.filter import Graph

if TYPE_CHECKING:
    from av import AudioFrame
    from av.container import InputContainer

RATE_HZ = 16_000
TOO_LONG = "too long"
# Decoding 300 s of audio takes 0.3 to 0.6 s, and less than 220 MiB of address space with PyAV's.
LIMITS = {
    resource.RLIMIT_AS: 320 * 2**20,
    resource.RLIMIT_CPU: 10,  # s
    resource.RLIMIT_NOFILE: 0,  # nothing can be opened; what is open stays
    resource.RLIMIT_FSIZE: 0,
    resource.RLIMIT_CORE: 0,
}
WALL_LIMIT_S = 20
_PR_SET_NO_NEW_PRIVS = 38
# 0.1 s at 8 kHz
_SILENT_WAV = (
    b"RIFF\x64\6\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0"
    b"data\x40\6\0\0" + bytes(1600)
)
_CODECS = frozenset(
    {"mp1", "mp1float", "mp2", "mp2float", "mp3", "mp3float", "aac", "alac", "flac"}
    | {"opus", "libopus", "vorbis", "pcm_s16le", "pcm_f32le"}
)


class Refused(Exception):
    """The file cannot be decoded."""


def serve_sockets(control: socket.socket) -> None:
    """Fork a child for each socket that arrives, until `control` is closed at its other end."""
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel reaps the children
    decode(_SILENT_WAV, "wav", 1)  # PyAV imports modules at the first use, children cannot
    ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    while True:
        _, descriptors, _, _ = socket.recv_fds(control, 1, 1)
        if not descriptors:
            return
        if os.fork() == 0:
            try:
                control.close()
                _serve_file(socket.socket(fileno=descriptors[0]))
            finally:
                os._exit(0)
        os.close(descriptors[0])


def _serve_file(connection: socket.socket) -> None:
    signal.alarm(WALL_LIMIT_S)
    for limit, value in LIMITS.items():
        resource.setrlimit(limit, (value, value))
    with connection.makefile("rb") as request:
        container, max_s = request.readline(64).split()
        content = request.read()
    try:
        pcm, reason = decode(content, container.decode(), int(max_s)), ""
    except Refused as refused:
        pcm, reason = b"", str(refused)
    connection.sendall(reason.replace("\n", " ").encode() + b"\n")
    connection.sendall(pcm)


def decode(content: bytes, container_name: str, max_s: int) -> bytes:
    """Return PCM; Refused with the reason.

    A file that is truncated or damaged is decoded as far as it goes. No other demuxer than
    `container_name` is tried: some of FFmpeg's open files and URLs that a file names.
    """
    pcm, problem = bytearray(), "it contains nothing that can be decoded"
    options = {"enable_drefs": "0", "use_absolute_path": "0"} if container_name == "mov" else {}
    try:
        with av.open(
            io.BytesIO(content),
            "r",
            format=container_name,
            options=options,
            metadata_errors="ignore",
        ) as container:
            for piece in _decode_stream(container):
                pcm += piece
                if len(pcm) > max_s * RATE_HZ * 2:
                    raise Refused(TOO_LONG)
    except (FFmpegError, OSError, ValueError) as error:
        problem = str(getattr(error, "strerror", None) or error)
    if not pcm:
        raise Refused(f"it cannot be read as {container_name} ({problem})")
    return bytes(pcm)


def _decode_stream(container: InputContainer) -> Iterator[bytes]:
    if not container.streams.audio:
        raise Refused("it contains no audio")
    stream = container.streams.audio[0]
    if stream.codec_context is None or stream.codec_context.name not in _CODECS:
        name = stream.codec_context.name if stream.codec_context else "unknown"
        raise Refused(f"its codec {name} is not supported")
    converter = _Converter()
    for packet in container.demux(stream):
        try:
            frames = packet.decode()
        except FFmpegError:  # skip a damaged packet
            continue
        for frame in frames:
            yield converter.convert(frame)
    yield converter.convert(None)


class _Converter:
    """Converts frames to 16 kHz mono; as `av.AudioResampler`, but without a thread for each core.

    Converting to integers, FFmpeg averages the channels; its downmix to floats is 3 dB louder.
    """

    def __init__(self) -> None:
        self._graph: Graph | None = None

    def convert(self, frame: AudioFrame | None) -> bytes:
        """Return the PCM that is complete, all of it after None."""
        if self._graph is None:
            if frame is None:
                return b""
            self._graph = _make_graph(frame)
        self._graph.push(frame)
        pcm = bytearray()
        while True:
            try:
                converted = cast("AudioFrame", self._graph.pull())
            except (BlockingIOError, EOFError):  # FFmpeg needs more, or has ended
                return bytes(pcm)
            pcm += bytes(converted.planes[0])[: converted.samples * 2]


def _make_graph(frame: AudioFrame) -> Graph:
    graph = Graph()
    graph.threads = 1
    source = graph.add(
        "abuffer",
        sample_rate=str(frame.sample_rate),
        sample_fmt=frame.format.name,
        channel_layout=frame.layout.name,
        time_base=f"1/{frame.sample_rate}",
    )
    converter = graph.add(
        "aformat", sample_rates=str(RATE_HZ), sample_fmts="s16", channel_layouts="mono"
    )
    sink = graph.add("abuffersink")
    source.link_to(converter)
    converter.link_to(sink)
    graph.configure()
    return graph


if __name__ == "__main__":
    serve_sockets(socket.socket(fileno=int(sys.argv[1])))

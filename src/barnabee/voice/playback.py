"""What is to be played and what was: 40 ms at a time, never more than two of them ahead.

So little lies in buffers that speech stops when it is told to, and that it is known how much of a
reply was heard. Pure but for what it remembers; `stages/tts.py` hands the chunks on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Literal

import numpy as np

from barnabee.voice.text import Piece

Kind = Literal["chime", "filler", "reply"]
CHUNK_MS = 40
AHEAD = 2  # chunks with the transport: one that sounds, and the next


@dataclass(frozen=True, slots=True)
class Chunk:
    """40 ms of sound and what it belongs to."""

    pcm: bytes
    kind: Kind
    piece: Piece | None = None


class Mouth:
    """One room's loudspeaker."""

    def __init__(self, rate_hz: int) -> None:
        """Begin with nothing to say."""
        self.rate_hz = rate_hz
        self.chunk_bytes = rate_hz * CHUNK_MS // 1000 * 2
        self.paused = False
        self._waiting: deque[Chunk] = deque()
        self._out: deque[Chunk] = deque()  # with the transport
        self._part = b""  # of a chunk

    @property
    def idle(self) -> bool:
        """Return whether all was played."""
        return not self._waiting and not self._out

    @property
    def nothing_out(self) -> bool:
        """Return whether the transport has nothing of ours."""
        return not self._out

    def has(self, kind: Kind) -> bool:
        """Return whether any of this is still to be played."""
        return any(chunk.kind == kind for chunk in (*self._out, *self._waiting))

    def add(self, kind: Kind, pcm: bytes, piece: Piece | None = None) -> None:
        """Take more sound; what does not fill a chunk waits for `close`."""
        if piece is not None:
            piece.made_s += len(pcm) / 2 / self.rate_hz
        self._part += pcm
        whole = len(self._part) // self.chunk_bytes * self.chunk_bytes
        for start in range(0, whole, self.chunk_bytes):
            cut = self._part[start : start + self.chunk_bytes]
            self._waiting.append(Chunk(cut, kind, piece))
        self._part = self._part[whole:]

    def close(self, kind: Kind, piece: Piece | None = None) -> None:
        """Say that this is all of it: the rest is filled up with silence."""
        if piece is not None:
            piece.whole = True
        if self._part:
            self._waiting.append(Chunk(self._part.ljust(self.chunk_bytes, b"\0"), kind, piece))
            self._part = b""

    def next(self) -> Chunk | None:
        """Return the next chunk for the transport; None while it has enough."""
        if self.paused or not self._waiting or len(self._out) >= AHEAD:
            return None
        chunk = self._waiting.popleft()
        self._out.append(chunk)
        return chunk

    def sent(self) -> Chunk | None:
        """Take note that the oldest chunk of the transport sounds; return it."""
        if not self._out:
            return None  # it was taken back, and sounds all the same
        chunk = self._out.popleft()
        if chunk.piece is not None:
            chunk.piece.played_s += len(chunk.pcm) / 2 / self.rate_hz
        return chunk

    def cut(self, kind: Kind) -> None:
        """Let what waits of this kind fade out within one chunk."""
        found = [chunk for chunk in self._waiting if chunk.kind == kind]
        if not found:
            return
        others = [chunk for chunk in self._waiting if chunk.kind != kind]
        self._waiting = deque([Chunk(faded(found[0].pcm), kind), *others])

    def flush(self) -> None:
        """Forget all that was not played, also what the transport has: it is told to forget it."""
        self._waiting.clear()
        self._out.clear()
        self._part = b""
        self.paused = False


def faded(pcm: bytes) -> bytes:
    """Return int16 sound that falls to silence. Pure."""
    samples = np.frombuffer(pcm, "<i2").astype(np.float32)
    return (samples * np.linspace(1, 0, len(samples), dtype=np.float32)).astype("<i2").tobytes()


def chime(rate_hz: int) -> bytes:
    """Return the sound of waking: two soft notes, 160 ms together. Pure."""
    notes = []
    for pitch_hz, length_s in ((660.0, 0.08), (880.0, 0.08)):
        time_s = np.arange(int(length_s * rate_hz)) / rate_hz
        notes.append(np.sin(2 * np.pi * pitch_hz * time_s) * np.sin(np.pi * time_s / length_s))
    return (np.concatenate(notes) * 0.12 * 32767).astype("<i2").tobytes()

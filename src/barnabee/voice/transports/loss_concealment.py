"""Packet loss concealment, and the jitter buffer it requires in aiortc.

A gap is filled with the preceding audio, mirrored and fading: speech to text tolerates that better
than a word with 20 ms cut out.
"""

from __future__ import annotations

import numpy as np
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

from barnabee.core.errors import Misconfigured

TICKS_PER_SAMPLE = 3  # of WebRTC's 48 kHz clock, at 16 kHz
MAX_GAP_SAMPLES = 1600  # 100 ms; a longer gap is a pause of the microphone
_JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_HALF_SEQUENCE = 1 << 15


class PacketLossConcealment:
    """Conceals gaps in the packets of one microphone, found by their timestamps."""

    def __init__(self) -> None:
        self._next: int | None = None
        self._last = b""

    def fill_gap(self, pcm: bytes, ticks: int | None) -> bytes:
        """Return 16-bit PCM at 16 kHz, preceded by a replacement for lost packets.

        `ticks` is the timestamp of `pcm` on WebRTC's 48 kHz clock, None on other transports.
        """
        if ticks is None or not pcm:
            return pcm
        missing = 0 if self._next is None else (ticks - self._next) // TICKS_PER_SAMPLE
        self._next = ticks + len(pcm) // 2 * TICKS_PER_SAMPLE
        before, self._last = self._last, pcm
        if not before or not 0 < missing <= MAX_GAP_SAMPLES:
            return pcm
        return synthesize_gap(before, missing) + pcm


def synthesize_gap(pcm: bytes, samples: int) -> bytes:
    """Return `samples` samples made of the end of `pcm`, mirrored and fading. Pure."""
    last = np.frombuffer(pcm, "<i2").astype(np.float32)
    mirrored = np.concatenate((last[::-1], last))  # without a jump at the seams
    filled = np.resize(mirrored, samples) * np.linspace(1, 0.2, samples, dtype=np.float32)
    return filled.astype("<i2").tobytes()


class PassthroughJitterBuffer(JitterBuffer):
    """Jitter buffer of aiortc that passes every packet on at once.

    The one in aiortc is made for video: it delays audio by 80 ms, by 280 ms for good after a lost
    packet, and drops good packets with lost ones; of a sentence through 20 % loss it left "but do".
    An audio packet is complete in itself, and reordering on a LAN is rare enough to count as loss.
    """

    def __init__(self) -> None:
        super().__init__(capacity=1)
        self._newest: int | None = None

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Return the frame of the packet, or None when it is not newer than the last one."""
        number = packet.sequence_number
        if (
            self._newest is not None
            and not 0 < (number - self._newest) % (2 * _HALF_SEQUENCE) < _HALF_SEQUENCE
        ):
            return False, None
        self._newest = number
        data: bytes = packet._data  # type: ignore[attr-defined] # noqa: SLF001 - no accessor
        return False, JitterFrame(data=data, timestamp=packet.timestamp)


def replace_jitter_buffer(receiver: object) -> None:
    """Replace the jitter buffer of an audio receiver; Misconfigured when aiortc has changed.

    aiortc has no setting for it; Pipecat replaces the video buffer in the same way.
    """
    if not hasattr(receiver, _JITTER_BUFFER):
        raise Misconfigured(what="This version of aiortc has its jitter buffer in another place")
    setattr(receiver, _JITTER_BUFFER, PassthroughJitterBuffer())

"""Sound packets as they come: nothing waits for one that is missing.

aiortc's buffer is made for pictures. For sound it holds back 80 ms always, 320 ms for good once a
packet was lost, and throws good packets away with the bad where several are missing: of a sentence
through 20 % loss it left "but do". A packet of sound is whole in itself; on a LAN one that was
overtaken is rare enough to count as lost, and `gaps` covers for it.
"""

from __future__ import annotations

from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket

from barnabee.core.errors import Misconfigured

_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_HALF = 1 << 15


class AsTheyCome(JitterBuffer):
    """Fits where aiortc expects its buffer."""

    def __init__(self) -> None:
        """Begin with no packet."""
        super().__init__(capacity=1)
        self._newest: int | None = None

    def add(self, packet: RtpPacket) -> tuple[bool, JitterFrame | None]:
        """Return the packet's frame, unless a newer one was heard already."""
        number = packet.sequence_number
        if self._newest is not None and not 0 < (number - self._newest) % (2 * _HALF) < _HALF:
            return False, None
        self._newest = number
        data: bytes = packet._data  # type: ignore[attr-defined] # noqa: SLF001 - where aiortc puts it
        return False, JitterFrame(data=data, timestamp=packet.timestamp)


def put_into(receiver: object) -> None:
    """Replace the buffer of a receiver of sound; Misconfigured when aiortc has it elsewhere.

    There is no setting for it; Pipecat replaces the buffer of video in the same way.
    """
    if not hasattr(receiver, _BUFFER):
        raise Misconfigured(what="This version of aiortc has its jitter buffer in another place")
    setattr(receiver, _BUFFER, AsTheyCome())

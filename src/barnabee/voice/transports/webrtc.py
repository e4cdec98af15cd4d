"""WebRTC transport for browsers, with packet loss concealment.

No STUN server is used: on a LAN the host candidates are sufficient. Their sockets are bound within
the UDP range of `[talk]`, which a firewall can then open: aioice binds to port 0 and has no option
for a range, so `restrict_ports` replaces the `Connection` class in aiortc.

mDNS candidates (`….local`, sent by browsers without microphone permission) are ignored: resolving
one takes a multicast socket outside the range and up to 1 s, while the connectivity checks of the
browser reveal its address anyway.

A gap is filled with the preceding audio, mirrored and fading: speech to text tolerates that better
than a word with 20 ms cut out.
"""

from __future__ import annotations

import asyncio
import inspect
import random
import socket
from collections.abc import Iterable
from typing import Any, ClassVar

import aioice
import aiortc.rtcicetransport
import numpy as np
import structlog
from aioice import mdns
from aioice.candidate import Candidate, candidate_foundation, candidate_priority
from aioice.ice import StunProtocol
from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.jitterbuffer import JitterBuffer, JitterFrame
from aiortc.rtp import RtpPacket
from aiortc.sdp import candidate_from_sdp
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport

from barnabee.core.errors import BadRequest, Misconfigured

TICKS_PER_SAMPLE = 3  # of WebRTC's 48 kHz clock, at 16 kHz
MAX_GAP_SAMPLES = 1600  # 100 ms; a longer gap is a pause of the microphone
_JITTER_BUFFER = "_RTCRtpReceiver__jitter_buffer"
_HALF_SEQUENCE = 1 << 15
RECEIVE_BUFFER_BYTES = 262_144
_GATHER_PARAMETERS = ["self", "component", "addresses", "timeout"]
INPUT_RATE_HZ = 16_000
CONNECT_TIMEOUT_S = 10
ANSWER_TIMEOUT_S = 10.0
# Raised by aiortc's parser and peer connection for invalid input.
_REJECTIONS = (
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    ArithmeticError,
    InvalidAccessError,
    InvalidStateError,
    OperationError,
)

log = structlog.get_logger()


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


class PortRangeConnection(aioice.Connection):  # type: ignore[misc, unused-ignore]
    """ICE connection whose sockets are bound within `ports`."""

    ports: ClassVar[range] = range(1)

    async def get_component_candidates(
        self,
        component: int,
        addresses: list[str],
        timeout: int = 5,  # noqa: ARG002, ASYNC109 - aioice's own signature
    ) -> list[Candidate]:
        """Return a host candidate for each address with a free port in the range."""
        candidates = []
        for address in addresses:
            sock = bind_socket(address, self.ports)
            if sock is None:
                log.warning("no_media_port", code="overloaded", address=address)
                continue
            loop = asyncio.get_running_loop()
            _, protocol = await loop.create_datagram_endpoint(lambda: StunProtocol(self), sock=sock)
            host, port = protocol.transport.get_extra_info("sockname")[:2]
            protocol.local_candidate = Candidate(
                foundation=candidate_foundation("host", "udp", host),
                component=component,
                transport="udp",
                priority=candidate_priority(component, "host"),
                host=host,
                port=port,
                type="host",
            )
            self._protocols.append(protocol)
            candidates.append(protocol.local_candidate)
        return candidates

    async def add_remote_candidate(self, remote_candidate: Candidate | None) -> None:
        """Add a candidate of the peer, unless it is an mDNS name; None: there are no more.

        The end is ignored while there is none: the peer's first check reveals its address.
        """
        if remote_candidate is None:
            is_ignored = not self.remote_candidates
        else:
            is_ignored = mdns.is_mdns_hostname(remote_candidate.host)
        if not is_ignored:
            await super().add_remote_candidate(remote_candidate)


def restrict_ports(ports: range) -> None:
    """Restrict new WebRTC connections to `ports`.

    Misconfigured when the internals of aiortc or aioice have changed.
    """
    current = vars(aiortc.rtcicetransport).get("Connection")
    is_replaceable = current in {aioice.Connection, PortRangeConnection}
    method = inspect.signature(aioice.Connection.get_component_candidates)
    if not is_replaceable or list(method.parameters) != _GATHER_PARAMETERS:
        what = "This version of aiortc or aioice gathers candidates in an unknown way"
        raise Misconfigured(what=f"{what}: see docs/debt.md")
    PortRangeConnection.ports = ports
    aiortc.rtcicetransport.Connection = PortRangeConnection  # type: ignore[misc, attr-defined, unused-ignore]


def bind_socket(address: str, ports: range) -> socket.socket | None:
    """Return a UDP socket on a free port of `ports`, or None."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    for port in rotate_ports(ports):
        sock = socket.socket(family, socket.SOCK_DGRAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
            sock.setblocking(False)
            sock.bind((address, port))
        except OSError:
            sock.close()
        else:
            return sock
    return None


def rotate_ports(ports: range) -> Iterable[int]:
    """Return the ports from a random start: a closed session may still receive packets."""
    start = random.randrange(len(ports))  # noqa: S311 - guards no secret
    return [*ports[start:], *ports[:start]]


async def open_connection(sdp: str) -> SmallWebRTCConnection:
    """Return a connection with its answer ready; BadRequest when the offer is unusable."""
    opened = SmallWebRTCConnection(ice_servers=[], connection_timeout_secs=CONNECT_TIMEOUT_S)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await opened.initialize(sdp=sdp, type="offer")
        require_microphone(opened)
        replace_jitter_buffer(opened.pc.getTransceivers()[0].receiver)
    except (*_REJECTIONS, TimeoutError) as error:
        await opened.pc.close()
        reason = f"the offer cannot be answered ({str(error) or type(error).__name__})"
        raise BadRequest(field="field `sdp`", reason=reason) from error
    except BadRequest:
        await opened.pc.close()
        raise
    return opened


async def wait_until_connected(opened: SmallWebRTCConnection, closed: asyncio.Event) -> bool:
    """Return whether the browser connects in time and before `closed` is set."""
    settled = asyncio.Event()

    def check_state() -> None:
        if opened.pc.connectionState in {"connected", "failed", "closed"}:
            settled.set()

    opened.pc.on("connectionstatechange", check_state)
    check_state()
    waiting = {asyncio.create_task(event.wait()) for event in (settled, closed)}
    await asyncio.wait(waiting, timeout=CONNECT_TIMEOUT_S, return_when=asyncio.FIRST_COMPLETED)
    for task in waiting:
        task.cancel()
    return opened.pc.connectionState == "connected" and not closed.is_set()


def require_microphone(opened: SmallWebRTCConnection) -> None:
    """Raise BadRequest unless audio comes first in the offer and a local address was found."""
    transceivers = opened.pc.getTransceivers()
    if not transceivers or transceivers[0].kind != "audio":
        raise BadRequest(field="field `sdp`", reason="audio must come first in the offer")
    if opened.get_answer() is None or "a=candidate" not in opened.get_answer()["sdp"]:
        raise BadRequest(field="field `sdp`", reason="the server has no address to offer")


async def add_candidate(
    opened: SmallWebRTCConnection, line: str, mid: str | None, index: int | None
) -> None:
    """Add a trickled candidate; an empty one marks their end and is ignored."""
    text = line.removeprefix("a=").removeprefix("candidate:")
    if not text:
        return
    try:
        candidate = candidate_from_sdp(text)
        candidate.sdpMid, candidate.sdpMLineIndex = mid, index
        await opened.add_ice_candidate(candidate)
    except _REJECTIONS as error:
        reason = f"it is not a valid candidate ({str(error) or type(error).__name__})"
        raise BadRequest(field="field `candidate`", reason=reason) from error


def make_transport(opened: SmallWebRTCConnection, rate_hz: int) -> SmallWebRTCTransport:
    params: dict[str, Any] = {
        "audio_in_enabled": True,
        "audio_in_sample_rate": INPUT_RATE_HZ,
        "audio_out_enabled": True,
        "audio_out_sample_rate": rate_hz,
        "audio_out_end_silence_secs": 0,
    }
    return SmallWebRTCTransport(opened, TransportParams(**params))

"""WebRTC transport for browsers: SDP offer and answer, trickled candidates, Pipecat's transport.

No STUN server is used: on a LAN the host candidates are sufficient.
"""

from __future__ import annotations

import asyncio
from typing import Any

from aiortc.exceptions import InvalidAccessError, InvalidStateError, OperationError
from aiortc.sdp import candidate_from_sdp
from pipecat.transports.base_transport import TransportParams
from pipecat.transports.smallwebrtc.connection import SmallWebRTCConnection
from pipecat.transports.smallwebrtc.transport import SmallWebRTCTransport

from barnabee.core.errors import BadRequest
from barnabee.voice.transports import loss_concealment

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


async def open_connection(sdp: str) -> SmallWebRTCConnection:
    """Return a connection with its answer ready; BadRequest when the offer is unusable."""
    opened = SmallWebRTCConnection(ice_servers=[], connection_timeout_secs=CONNECT_TIMEOUT_S)
    try:
        async with asyncio.timeout(ANSWER_TIMEOUT_S):
            await opened.initialize(sdp=sdp, type="offer")
        require_microphone(opened)
        loss_concealment.replace_jitter_buffer(opened.pc.getTransceivers()[0].receiver)
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

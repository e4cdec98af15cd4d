"""WebRTC, for browsers: an offer in, an answer out, candidates afterwards.

Knows no STUN server: on a LAN the host's own addresses are enough, and nobody outside is asked.
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
from barnabee.voice.transports import jitter_buffer

HEARD_RATE_HZ = 16_000
CONNECT_WITHIN_S = 30
ANSWER_WITHIN_S = 10.0
# What aiortc's parser and peer connection raise for what they do not like.
_NONSENSE = (
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


async def connection(sdp: str) -> SmallWebRTCConnection:
    """Return a connection that has its answer; BadRequest when the offer is not usable."""
    made = SmallWebRTCConnection(ice_servers=[], connection_timeout_secs=CONNECT_WITHIN_S)
    try:
        async with asyncio.timeout(ANSWER_WITHIN_S):
            await made.initialize(sdp=sdp, type="offer")
        require_microphone(made)
        jitter_buffer.put_into(made.pc.getTransceivers()[0].receiver)
    except (*_NONSENSE, TimeoutError) as error:
        await made.pc.close()
        reason = f"it is no offer that can be answered ({str(error) or type(error).__name__})"
        raise BadRequest(field="field `sdp`", reason=reason) from error
    except BadRequest:
        await made.pc.close()
        raise
    return made


def require_microphone(made: SmallWebRTCConnection) -> None:
    """Return when sound comes first in the offer; BadRequest otherwise."""
    transceivers = made.pc.getTransceivers()
    if not transceivers or transceivers[0].kind != "audio":
        raise BadRequest(field="field `sdp`", reason="it offers no sound, or something before it")
    if made.get_answer() is None or "a=candidate" not in made.get_answer()["sdp"]:
        raise BadRequest(field="field `sdp`", reason="there is no address to meet at")


async def add_candidate(
    made: SmallWebRTCConnection, line: str, mid: str | None, index: int | None
) -> None:
    """Add a candidate that came later; an empty one says that there are no more."""
    text = line.removeprefix("a=").removeprefix("candidate:")
    if not text:
        return
    try:
        candidate = candidate_from_sdp(text)
        candidate.sdpMid, candidate.sdpMLineIndex = mid, index
        await made.add_ice_candidate(candidate)
    except _NONSENSE as error:
        reason = f"it cannot be read ({str(error) or type(error).__name__})"
        raise BadRequest(field="field `candidate`", reason=reason) from error


def transport(made: SmallWebRTCConnection, rate_hz: int) -> SmallWebRTCTransport:
    """Return Pipecat's transport over a connection."""
    params: dict[str, Any] = {
        "audio_in_enabled": True,
        "audio_in_sample_rate": HEARD_RATE_HZ,
        "audio_out_enabled": True,
        "audio_out_sample_rate": rate_hz,
        "audio_out_end_silence_secs": 0,
    }
    return SmallWebRTCTransport(made, TransportParams(**params))

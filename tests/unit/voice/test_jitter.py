from __future__ import annotations

import pytest
from aiortc import RTCPeerConnection
from aiortc.rtp import RtpPacket

from barnabee.core.errors import Misconfigured
from barnabee.voice.transports.jitter_buffer import AsTheyCome, put_into


def packet(number: int) -> RtpPacket:
    made = RtpPacket(sequence_number=number % 65_536, timestamp=960 * number)
    made._data = b"%d" % number  # type: ignore[attr-defined]
    return made


def heard(*numbers: int) -> list[bytes]:
    buffer = AsTheyCome()
    frames = [buffer.add(packet(number))[1] for number in numbers]
    return [frame.data for frame in frames if frame]


def test_every_packet_is_heard_at_once_and_none_waits_for_a_lost_one() -> None:
    assert heard(1, 2, 5, 6, 9) == [b"1", b"2", b"5", b"6", b"9"]


def test_one_that_was_overtaken_or_came_twice_is_not_heard() -> None:
    assert heard(1, 3, 2, 3, 4) == [b"1", b"3", b"4"]


def test_the_numbers_begin_anew_after_65535() -> None:
    assert heard(65_534, 65_535, 65_536, 65_535, 65_537) == [b"65534", b"65535", b"65536", b"65537"]


async def test_an_aiortc_that_has_its_buffer_elsewhere_is_refused() -> None:
    with pytest.raises(Misconfigured, match="jitter buffer"):
        put_into(object())
    peer = RTCPeerConnection()
    receiver = peer.addTransceiver("audio").receiver
    put_into(receiver)
    assert isinstance(receiver._RTCRtpReceiver__jitter_buffer, AsTheyCome)
    await peer.close()

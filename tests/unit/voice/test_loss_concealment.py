from __future__ import annotations

import numpy as np
import pytest
from aiortc import RTCPeerConnection
from aiortc.rtp import RtpPacket
from hypothesis import given
from hypothesis import strategies as st

from barnabee.core.errors import Misconfigured
from barnabee.voice.transports.webrtc import (
    MAX_GAP_SAMPLES,
    PacketLossConcealment,
    PassthroughJitterBuffer,
    replace_jitter_buffer,
)

PACKET = np.full(320, 1000, "<i2").tobytes()
TICKS = 960


def test_consecutive_packets_are_unchanged() -> None:
    concealment = PacketLossConcealment()
    assert [concealment.fill_gap(PACKET, n * TICKS) for n in range(5)] == [PACKET] * 5


def test_lost_packet_is_replaced_by_the_fading_previous_one() -> None:
    concealment = PacketLossConcealment()
    concealment.fill_gap(PACKET, 0)
    found = np.frombuffer(concealment.fill_gap(PACKET, 2 * TICKS), "<i2")
    assert len(found) == 640
    assert found[0] == 1000
    assert 150 < found[319] < 250
    assert np.all(found[320:] == 1000)


def test_pause_or_clock_reset_of_the_microphone_is_not_filled() -> None:
    concealment = PacketLossConcealment()
    concealment.fill_gap(PACKET, 0)
    assert concealment.fill_gap(PACKET, 48_000) == PACKET
    assert concealment.fill_gap(PACKET, 0) == PACKET  # the clock was reset
    assert concealment.fill_gap(PACKET, None) == PACKET


@given(st.lists(st.booleans(), min_size=1, max_size=80))
def test_duration_is_preserved_for_any_loss_pattern(lost: list[bool]) -> None:
    concealment, total, since = PacketLossConcealment(), 0, 0
    for number, gone in enumerate(lost):
        if gone:
            since += 320
            continue
        samples = len(concealment.fill_gap(PACKET, number * TICKS)) // 2
        assert samples == 320 + (since if total and since <= MAX_GAP_SAMPLES else 0)
        total, since = total + samples, 0


# ---- jitter buffer ----


def packet(number: int) -> RtpPacket:
    rtp = RtpPacket(sequence_number=number % 65_536, timestamp=960 * number)
    rtp._data = b"%d" % number  # type: ignore[attr-defined]
    return rtp


def passed(*numbers: int) -> list[bytes]:
    buffer = PassthroughJitterBuffer()
    frames = [buffer.add(packet(number))[1] for number in numbers]
    return [frame.data for frame in frames if frame]


def test_packets_pass_at_once_without_waiting_for_lost_ones() -> None:
    assert passed(1, 2, 5, 6, 9) == [b"1", b"2", b"5", b"6", b"9"]


def test_reordered_and_duplicate_packets_are_dropped() -> None:
    assert passed(1, 3, 2, 3, 4) == [b"1", b"3", b"4"]


def test_sequence_numbers_wrap_after_65535() -> None:
    assert passed(65_534, 65_535, 65_536, 65_535, 65_537) == [
        b"65534",
        b"65535",
        b"65536",
        b"65537",
    ]


async def test_unknown_aiortc_layout_is_refused() -> None:
    with pytest.raises(Misconfigured, match="jitter buffer"):
        replace_jitter_buffer(object())
    peer = RTCPeerConnection()
    receiver = peer.addTransceiver("audio").receiver
    replace_jitter_buffer(receiver)
    assert isinstance(receiver._RTCRtpReceiver__jitter_buffer, PassthroughJitterBuffer)
    await peer.close()

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from barnabee.voice.transports.loss_concealment import LONGEST, Gaps

PACKET = np.full(320, 1000, "<i2").tobytes()
TICKS = 960


def test_packets_in_a_row_are_left_alone() -> None:
    gaps = Gaps()
    assert [gaps.filled(PACKET, n * TICKS) for n in range(5)] == [PACKET] * 5


def test_a_packet_that_was_lost_is_replaced_by_the_one_before_it_fading() -> None:
    gaps = Gaps()
    gaps.filled(PACKET, 0)
    found = np.frombuffer(gaps.filled(PACKET, 2 * TICKS), "<i2")
    assert len(found) == 640
    assert found[0] == 1000
    assert 150 < found[319] < 250
    assert np.all(found[320:] == 1000)


def test_a_microphone_that_paused_is_not_made_up_for() -> None:
    gaps = Gaps()
    gaps.filled(PACKET, 0)
    assert gaps.filled(PACKET, 48_000) == PACKET
    assert gaps.filled(PACKET, 0) == PACKET  # its clock began anew
    assert gaps.filled(PACKET, None) == PACKET


@given(st.lists(st.booleans(), min_size=1, max_size=80))
def test_time_is_kept_however_packets_are_lost(lost: list[bool]) -> None:
    gaps, total, since = Gaps(), 0, 0
    for number, gone in enumerate(lost):
        if gone:
            since += 320
            continue
        sound = len(gaps.filled(PACKET, number * TICKS)) // 2
        assert sound == 320 + (since if total and since <= LONGEST else 0)
        total, since = total + sound, 0

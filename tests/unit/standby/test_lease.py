"""The lease's protocol, step by step; tests/unit/standby/test_lease_machine.py storms it."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress

import pytest

from barnabee.core import system
from barnabee.standby.lease import NS, Effects, Get, Lessee, Put, Record, State, Terms, decode
from support.leases import TERMS, World


def world() -> World:
    made = World()
    made.populate([(0, 0), (0, 0)])
    return made


def test_the_wait_outlasts_a_lease_on_the_slowest_clock() -> None:
    table = system.load().standby
    terms = Terms.of(table)
    drift = table.clock_drift_permille / 1000
    assert terms.wait_ns / (1 + drift) >= terms.lease_ns / (1 - drift)


def test_the_first_machine_takes_line_1_at_once() -> None:
    made = world()
    left = made.machines["left"]
    made.whole_round(left)
    assert left.lessee.holds
    assert left.lessee.epoch == 1
    assert left.lessee.holder() == "left"


def test_nobody_takes_what_is_renewed_and_who_takes_it_begins_a_new_line() -> None:
    made = world()
    left, right = made.machines.values()
    for _ in range(20):
        made.whole_round(left)
        made.whole_round(right)
        assert left.lessee.holds
        assert right.lessee.holder() == "left"
        assert not right.lessee.free
        made.wait(5 * NS)
    made.whole_round(right)  # sees the last renewal
    made.wait(TERMS.wait_ns)
    made.whole_round(right)
    assert right.lessee.holds
    assert right.lessee.epoch == 2
    made.whole_round(left)
    assert not left.lessee.holds
    assert left.lessee.superseded


def test_a_released_lease_is_taken_at_once() -> None:
    made = world()
    left, right = made.machines.values()
    made.whole_round(left)
    left.wants = False
    made.whole_round(left)
    made.whole_round(right)
    assert right.lessee.holds


def test_who_was_not_heard_giving_up_waits_before_it_claims_again() -> None:
    made = world()
    left = made.machines["left"]
    made.whole_round(left)
    left.wants = False
    made.step(left)
    made.step(left, answered=False)
    left.wants = True
    made.whole_round(left)
    assert left.lessee.unsure
    assert not left.lessee.holds
    made.restart(left)  # a new life knows it from its disk
    made.whole_round(left)
    assert not left.lessee.holds
    made.wait(TERMS.wait_ns + NS)
    made.whole_round(left)
    assert left.lessee.holds


def test_a_machine_that_restarts_goes_on_with_its_line() -> None:
    made = world()
    left = made.machines["left"]
    made.whole_round(left)
    made.restart(left)
    made.whole_round(left)
    assert left.lessee.holds
    assert left.lessee.epoch == 1


def requests(effects: Effects) -> list[Get | Put]:
    """Return all that is asked for when everything is absent."""
    asked: list[Get | Put] = []
    with suppress(StopIteration):
        asked.append(next(effects))
        while True:
            asked.append(effects.send(None))
    return asked


def test_its_own_object_is_there_before_it_reads_the_others() -> None:
    lessee = Lessee("left", ["right"], TERMS, clock=lambda: 0, nonce=lambda: "n")
    asked = requests(lessee.hold())
    kinds = [one.host if isinstance(one, Get) else one.record.state for one in asked]
    assert kinds == ["left", "right", State.CLAIM, "right", State.HOLD, "right"]


def test_no_two_writes_are_equal() -> None:
    numbers = itertools.count()
    lessee = Lessee("left", [], TERMS, clock=lambda: 0, nonce=lambda: str(next(numbers)))
    asked = [one for _ in range(3) for one in requests(lessee.hold())]
    writes = [one.record.encode() for one in asked if isinstance(one, Put)]
    assert len(set(writes)) == len(writes) == 4  # a claim and three times hold


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"null", b'{"state": "king"}', b"\xff"])
def test_what_is_no_record_is_refused_and_never_taken_for_absence(raw: bytes) -> None:
    with pytest.raises(ValueError, match="no record of a lease"):
        decode(raw)


def test_a_record_comes_back_as_it_was_written() -> None:
    record = Record(State.HOLD, 3, 2, "n")
    assert decode(record.encode()) == record
    assert json.loads(record.encode())["state"] == "hold"
    assert decode(None) is None

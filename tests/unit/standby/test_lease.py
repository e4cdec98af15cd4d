"""Lease protocol, step by step; test_lease_machine.py tests it under random faults."""

from __future__ import annotations

import itertools
import json
from contextlib import suppress

import pytest

from barnabee.core import system
from barnabee.standby.lease import (
    NS,
    Effects,
    GetObject,
    LeaseProtocol,
    LeaseRecord,
    LeaseState,
    LeaseTiming,
    PutObject,
    decode_record,
)
from support.lease_simulation import TIMING, LeaseSimulation


def make_simulation() -> LeaseSimulation:
    simulation = LeaseSimulation()
    simulation.populate([(0, 0), (0, 0)])
    return simulation


def test_the_wait_outlasts_a_lease_on_the_slowest_clock() -> None:
    table = system.load_system().standby
    timing = LeaseTiming.from_config(table)
    drift = table.clock_drift_permille / 1000
    assert timing.wait_ns / (1 + drift) >= timing.lease_ns / (1 - drift)


def test_the_first_machine_acquires_epoch_1_at_once() -> None:
    simulation = make_simulation()
    left = simulation.machines["left"]
    simulation.whole_round(left)
    assert left.protocol.is_held
    assert left.protocol.epoch == 1
    assert left.protocol.holder() == "left"


def test_a_renewed_lease_is_not_taken_and_a_takeover_begins_a_new_epoch() -> None:
    simulation = make_simulation()
    left, right = simulation.machines.values()
    for _ in range(20):
        simulation.whole_round(left)
        simulation.whole_round(right)
        assert left.protocol.is_held
        assert right.protocol.holder() == "left"
        assert not right.protocol.is_free
        simulation.wait(5 * NS)
    simulation.whole_round(right)  # sees the last renewal
    simulation.wait(TIMING.wait_ns)
    simulation.whole_round(right)
    assert right.protocol.is_held
    assert right.protocol.epoch == 2
    simulation.whole_round(left)
    assert not left.protocol.is_held
    assert left.protocol.is_superseded


def test_a_released_lease_is_acquired_at_once() -> None:
    simulation = make_simulation()
    left, right = simulation.machines.values()
    simulation.whole_round(left)
    left.wants = False
    simulation.whole_round(left)
    simulation.whole_round(right)
    assert right.protocol.is_held


def test_a_machine_with_an_unconfirmed_release_waits_before_it_claims() -> None:
    simulation = make_simulation()
    left = simulation.machines["left"]
    simulation.whole_round(left)
    left.wants = False
    simulation.step(left)
    simulation.step(left, answered=False)
    left.wants = True
    simulation.whole_round(left)
    assert left.protocol.release_unconfirmed
    assert not left.protocol.is_held
    simulation.restart(left)  # remembered on disk across the restart
    simulation.whole_round(left)
    assert not left.protocol.is_held
    simulation.wait(TIMING.wait_ns + NS)
    simulation.whole_round(left)
    assert left.protocol.is_held


def test_a_restarted_machine_keeps_its_epoch() -> None:
    simulation = make_simulation()
    left = simulation.machines["left"]
    simulation.whole_round(left)
    simulation.restart(left)
    simulation.whole_round(left)
    assert left.protocol.is_held
    assert left.protocol.epoch == 1


def collect_requests(effects: Effects) -> list[GetObject | PutObject]:
    """Return the requests of a round in which every object is absent."""
    requests: list[GetObject | PutObject] = []
    with suppress(StopIteration):
        requests.append(next(effects))
        while True:
            requests.append(effects.send(None))
    return requests


def test_a_machine_writes_its_object_before_it_reads_the_others() -> None:
    protocol = LeaseProtocol("left", ["right"], TIMING, clock=lambda: 0, nonce=lambda: "n")
    requests = collect_requests(protocol.acquire())
    kinds = [one.host if isinstance(one, GetObject) else one.record.state for one in requests]
    assert kinds == ["left", "right", LeaseState.CLAIM, "right", LeaseState.HOLD, "right"]


def test_no_two_writes_are_equal() -> None:
    numbers = itertools.count()
    protocol = LeaseProtocol("left", [], TIMING, clock=lambda: 0, nonce=lambda: str(next(numbers)))
    requests = [one for _ in range(3) for one in collect_requests(protocol.acquire())]
    writes = [one.record.encode() for one in requests if isinstance(one, PutObject)]
    assert len(set(writes)) == len(writes) == 4  # a claim and three times hold


@pytest.mark.parametrize("raw", [b"", b"[]", b"{}", b"null", b'{"state": "king"}', b"\xff"])
def test_a_malformed_record_is_refused_and_not_taken_for_absence(raw: bytes) -> None:
    with pytest.raises(ValueError, match="not a lease record"):
        decode_record(raw)


def test_a_record_survives_encoding_and_decoding() -> None:
    record = LeaseRecord(LeaseState.HOLD, 3, 2, "n")
    assert decode_record(record.encode()) == record
    assert json.loads(record.encode())["state"] == "hold"
    assert decode_record(None) is None

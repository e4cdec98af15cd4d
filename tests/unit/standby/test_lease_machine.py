"""Whatever is delayed, lost, stopped or restarted: one machine may write at most."""

from __future__ import annotations

from collections.abc import Generator

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from barnabee.standby.lease import NS, Effects, Get, Lessee, Put, Record, Terms
from support.leases import DRIFT, HOSTS, TERMS, TwoHolders, World, storm


class Leases(RuleBasedStateMachine):
    """Small steps in the order that finds most; every step looks for two holders."""

    @initialize(
        clocks=st.lists(
            st.tuples(st.integers(-DRIFT, DRIFT), st.integers(0, 10**15)), min_size=2, max_size=3
        )
    )
    def begin(self, clocks: list[tuple[int, int]]) -> None:
        self.world = World()
        self.world.populate(clocks)

    def one(self, name: str) -> str:
        return name if name in self.world.machines else HOSTS[0]

    names = st.sampled_from(HOSTS)

    @rule(name=names, answered=st.sampled_from([True, True, True, False]))
    def step(self, name: str, answered: bool) -> None:
        self.world.step(self.world.machines[self.one(name)], answered=answered)

    @rule(name=names)
    def whole_round(self, name: str) -> None:
        self.world.whole_round(self.world.machines[self.one(name)])

    @rule(name=names)
    def restart(self, name: str) -> None:
        self.world.restart(self.world.machines[self.one(name)])

    @rule(name=names, wants=st.booleans())
    def promote_or_demote(self, name: str, wants: bool) -> None:
        self.world.machines[self.one(name)].wants = wants

    @rule(number=st.integers(0, 5))
    def land(self, number: int) -> None:
        self.world.land(number)

    @rule(number=st.integers(0, 5))
    def lose(self, number: int) -> None:
        self.world.lose(number)

    @rule(seconds=st.sampled_from([0.001, 0.5, 1, 4, 5, 10, 29.9, 30, 30.2, 30.4, 31, 61]))
    def time_passes(self, seconds: float) -> None:
        self.world.wait(int(seconds * NS))


Leases.TestCase.settings = settings(max_examples=80, stateful_step_count=50, deadline=None)
TestLeases = Leases.TestCase


@pytest.mark.parametrize("first", range(0, 400, 100))
def test_in_storms_there_is_one_holder_at_most_and_the_lease_does_pass(first: int) -> None:
    takeovers = 0
    for seed in range(first, first + 100):
        world = World()
        storm(world, seed, 1200)
        takeovers += world.takeovers
    assert takeovers > 200  # or nothing was tried


class LooksFirst(Lessee):
    """Reads the others before its own object is there."""

    def _round(self, record: Record) -> Generator[Get | Put, bytes | None, bool]:
        yield from self._read_others()
        yield from self._put(record)
        return self._all_quiet()


class CountsFromTheAnswer(Lessee):
    """Takes the lease to begin when it heard of it, not when it asked."""

    def hold(self) -> Effects:
        before = self.until_ns
        yield from super().hold()
        if self.until_ns != before:
            self._until_ns = self._clock() + self.terms.lease_ns


class ForgetsThatItGaveUp(Lessee):
    """Claims anew although its giving up may still be on its way."""

    def release(self) -> Effects:
        try:
            yield from super().release()
        finally:
            self._not_before_ns = 0


class TrustsWhatItRead(Lessee):
    """Counts the wait to the moment it decides, not to the moment it last asked."""

    def _read_others(self) -> Effects:
        for host in self._others:
            if host not in self.seen:
                yield from super()._read_others()
                return
            yield Get(self.host)


BROKEN = {
    "looks before it writes": (LooksFirst, TERMS),
    "counts from the answer": (CountsFromTheAnswer, TERMS),
    "forgets that it gave up": (ForgetsThatItGaveUp, TERMS),
    "does not look again": (TrustsWhatItRead, TERMS),
    "waits too short": (Lessee, Terms(TERMS.lease_ns, TERMS.lease_ns * 9 // 10, TERMS.stop_ns)),
    "takes clocks for exact": (Lessee, Terms(TERMS.lease_ns, TERMS.lease_ns, TERMS.stop_ns)),
}


@pytest.mark.parametrize(("kind", "terms"), BROKEN.values(), ids=BROKEN.keys())
def test_the_storms_would_notice_a_protocol_that(kind: type[Lessee], terms: Terms) -> None:
    def storms() -> None:
        # The rarest of them showed itself in storm 881.
        for seed in range(800, 3000):
            storm(World(terms=terms, kind=kind), seed, 1200)

    with pytest.raises(TwoHolders):
        storms()

"""Simulation of machines that share only an object store, with faults at every step.

The store applies a write at any time between request and response, long after the sender gave up,
or never. A machine may pause at any point, die and restart; clock rates differ by as much as
system.toml allows.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

from barnabee.core import system
from barnabee.standby.lease import (
    NS,
    Effects,
    GetObject,
    LeaseProtocol,
    LeaseState,
    LeaseTiming,
    PutObject,
)

TABLE = system.load_system().standby
TIMING = LeaseTiming.from_config(TABLE)
HOSTS = ("left", "right", "third")
DRIFT = TABLE.clock_drift_permille
# Only a release must not be applied arbitrarily late.
MAX_RELEASE_DELAY_NS = TIMING.wait_ns * 9 // 10


class NoAnswer(Exception):
    """A request got no response."""


class TwoHoldersError(AssertionError):
    """Two machines may write at the same time."""


@dataclass
class PendingWrite:
    """A write in flight; the store applies it once or never."""

    host: str
    content: bytes
    sent_ns: int
    released: bool
    lost: bool = False


@dataclass
class SimulatedMachine:
    """One machine: its clock, its protocol, and the request that it waits for."""

    name: str
    pace_permille: int
    offset_ns: int
    protocol: LeaseProtocol
    round: Effects | None = None
    waits_for: GetObject | PutObject | None = None
    write: PendingWrite | None = None
    release_unconfirmed: bool = False
    wants: bool = True


@dataclass
class LeaseSimulation:
    """The store and the machines, advanced in small steps."""

    timing: LeaseTiming = TIMING
    kind: type[LeaseProtocol] = LeaseProtocol
    true_ns: int = 0
    store: dict[str, bytes] = field(default_factory=dict)
    under_way: list[PendingWrite] = field(default_factory=list)
    machines: dict[str, SimulatedMachine] = field(default_factory=dict)
    epochs: dict[int, str] = field(default_factory=dict)
    takeovers: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _last: str | None = None

    def populate(self, clocks: list[tuple[int, int]]) -> None:
        """Create one machine for each (clock rate deviation, offset)."""
        names = HOSTS[: len(clocks)]
        for name, (pace, offset) in zip(names, clocks, strict=True):
            protocol = self._make_protocol(name, names, pace, offset, release_unconfirmed=False)
            self.machines[name] = SimulatedMachine(name, pace, offset, protocol)

    def _make_protocol(
        self,
        name: str,
        names: tuple[str, ...],
        pace: int,
        offset: int,
        *,
        release_unconfirmed: bool,
    ) -> LeaseProtocol:
        return self.kind(
            name,
            [other for other in names if other != name],
            self.timing,
            clock=lambda: offset + self.true_ns * (1000 + pace) // 1000,
            nonce=lambda: str(next(self._numbers)),
            release_unconfirmed=release_unconfirmed,
        )

    def restart(self, machine: SimulatedMachine) -> None:
        """Kill a machine at its current point and restart it from its disk."""
        names = tuple(self.machines)
        machine.protocol = self._make_protocol(
            machine.name,
            names,
            machine.pace_permille,
            machine.offset_ns,
            release_unconfirmed=machine.release_unconfirmed,
        )
        machine.round = machine.waits_for = machine.write = None

    def wait(self, true_ns: int) -> None:
        """Advance the time."""
        self.true_ns += true_ns
        for write in list(self.under_way):
            if write.released and self.true_ns - write.sent_ns > MAX_RELEASE_DELAY_NS:
                self.under_way.remove(write)
                write.lost = True
        self.check()

    def land(self, number: int) -> None:
        """Apply a pending write, perhaps long after it was sent."""
        if self.under_way:
            self._land(self.under_way[number % len(self.under_way)])

    def lose(self, number: int) -> None:
        """Lose a pending write."""
        if self.under_way:
            self.under_way.pop(number % len(self.under_way)).lost = True

    def step(self, machine: SimulatedMachine, *, answered: bool = True) -> None:
        """Begin a round, or complete the request that the machine waits for."""
        try:
            if machine.round is None:
                machine.round = self._choose_effects(machine)
                self._record_sent(machine, next(machine.round))
            elif answered and not (machine.write and machine.write.lost):
                self._record_sent(machine, machine.round.send(self._respond(machine)))
            else:
                self._record_sent(machine, machine.round.throw(NoAnswer()))
        except (StopIteration, NoAnswer):
            self._end_round(machine)
        self.check()

    def whole_round(self, machine: SimulatedMachine) -> None:
        """Run one machine until its round ends."""
        self.step(machine)
        while machine.round is not None:
            self.step(machine)

    def check(self) -> None:
        """Raise when two machines may write, or when an epoch has two writers."""
        holding = [machine for machine in self.machines.values() if machine.protocol.is_held]
        if len(holding) > 1:
            raise TwoHoldersError([machine.name for machine in holding])
        for machine in holding:
            epoch = machine.protocol.epoch
            if self.epochs.setdefault(epoch, machine.name) != machine.name:
                raise TwoHoldersError(f"epoch {epoch} of {self.epochs[epoch]} and {machine.name}")
            if epoch != max(self.epochs):
                raise TwoHoldersError(
                    f"{machine.name} writes epoch {epoch} after {max(self.epochs)}"
                )
            self.takeovers += self._last not in {None, machine.name}
            self._last = machine.name

    @staticmethod
    def _choose_effects(machine: SimulatedMachine) -> Effects:
        if machine.wants:
            return machine.protocol.acquire()
        if (
            machine.protocol.own_record
            and machine.protocol.own_record.state is not LeaseState.RELEASED
        ):
            return machine.protocol.release()
        return machine.protocol.observe()

    def _record_sent(self, machine: SimulatedMachine, request: GetObject | PutObject) -> None:
        machine.waits_for, machine.write = request, None
        if isinstance(request, PutObject):
            released = request.record.state is LeaseState.RELEASED
            machine.release_unconfirmed = (
                machine.release_unconfirmed or released
            )  # written to its disk before the request is sent
            machine.write = PendingWrite(
                machine.name, request.record.encode(), self.true_ns, released
            )
            self.under_way.append(machine.write)

    def _respond(self, machine: SimulatedMachine) -> bytes | None:
        if isinstance(machine.waits_for, GetObject):
            return self.store.get(machine.waits_for.host)
        if machine.write in self.under_way:
            self._land(machine.write)
        return None

    def _land(self, write: PendingWrite) -> None:
        self.under_way.remove(write)
        self.store[write.host] = write.content

    @staticmethod
    def _end_round(machine: SimulatedMachine) -> None:
        machine.round = machine.waits_for = machine.write = None
        machine.release_unconfirmed = machine.protocol.release_unconfirmed


def run_random_events(world: LeaseSimulation, seed: int, steps: int) -> None:
    """Run `steps` random events."""
    chance = random.Random(seed)  # noqa: S311 - reproducible
    world.populate(
        [
            (chance.choice((-DRIFT, 0, DRIFT)), chance.randrange(10**15))
            for _ in HOSTS[: 2 + seed % 2]
        ]
    )
    names = list(world.machines)
    wait_s = world.timing.wait_ns / NS
    pauses = (
        0.01,
        0.3,
        1,
        3,
        5,
        wait_s / 2,
        wait_s - 0.4,
        wait_s - 0.1,
        wait_s + 0.1,
        wait_s * 1.02,
    )
    weights = (9, 9, 9, 6, 6, 2, 1, 1, 1, 1)
    for _ in range(steps):
        machine = world.machines[chance.choice(names)]
        match chance.choices(range(8), (30, 18, 2, 6, 1, 16, 1, 1))[0]:
            case 0:
                world.step(machine)
            case 1:
                world.whole_round(machine)
            case 2:
                world.step(machine, answered=False)
            case 3:
                world.land(chance.randrange(9))
            case 4:
                world.lose(chance.randrange(9))
            case 5:
                world.wait(int(chance.choices(pauses, weights)[0] * NS))
            case 6:
                world.restart(machine)
            case _:
                machine.wants = not machine.wants or chance.random() < 0.5

"""Machines that share a store and nothing else: every step may be late, lost, or the last.

The store takes a write at some moment between its being sent and its being answered, or long after
its sender gave up, or never. A machine may stand still in the middle of anything, die, and come
back; the paces of their clocks differ by as much as system.toml allows.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass, field

from barnabee.core import system
from barnabee.standby.lease import NS, Effects, Get, Lessee, Put, State, Terms

TABLE = system.load().standby
TERMS = Terms.of(TABLE)
HOSTS = ("left", "right", "third")
DRIFT = TABLE.clock_drift_permille
# Only for a write that says "released" does it matter how late it may land.
LATEST_NS = TERMS.wait_ns * 9 // 10


class Lost(Exception):
    """No answer came."""


class TwoHolders(AssertionError):
    """What must never be."""


@dataclass
class Write:
    """A write under way; the store takes it once, or never."""

    host: str
    content: bytes
    sent_ns: int
    released: bool
    lost: bool = False


@dataclass
class Machine:
    """One machine: its clock, its life, and the request that it waits for."""

    name: str
    pace_permille: int
    offset_ns: int
    lessee: Lessee
    round: Effects | None = None
    waits_for: Get | Put | None = None
    write: Write | None = None
    unsure: bool = False
    wants: bool = True


@dataclass
class World:
    """The store and the machines, moved one small step at a time."""

    terms: Terms = TERMS
    kind: type[Lessee] = Lessee
    true_ns: int = 0
    store: dict[str, bytes] = field(default_factory=dict)
    under_way: list[Write] = field(default_factory=list)
    machines: dict[str, Machine] = field(default_factory=dict)
    lines: dict[int, str] = field(default_factory=dict)
    takeovers: int = 0
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _last: str | None = None

    def populate(self, clocks: list[tuple[int, int]]) -> None:
        """Make one machine for each (pace, offset)."""
        names = HOSTS[: len(clocks)]
        for name, (pace, offset) in zip(names, clocks, strict=True):
            lessee = self._born(name, names, pace, offset, unsure=False)
            self.machines[name] = Machine(name, pace, offset, lessee)

    def _born(
        self, name: str, names: tuple[str, ...], pace: int, offset: int, *, unsure: bool
    ) -> Lessee:
        return self.kind(
            name,
            [other for other in names if other != name],
            self.terms,
            clock=lambda: offset + self.true_ns * (1000 + pace) // 1000,
            nonce=lambda: str(next(self._numbers)),
            unsure=unsure,
        )

    def restart(self, one: Machine) -> None:
        """Let it die, whatever it was doing, and come back with what is on its disk."""
        names = tuple(self.machines)
        one.lessee = self._born(
            one.name, names, one.pace_permille, one.offset_ns, unsure=one.unsure
        )
        one.round = one.waits_for = one.write = None

    def wait(self, true_ns: int) -> None:
        """Let time pass."""
        self.true_ns += true_ns
        for write in list(self.under_way):
            if write.released and self.true_ns - write.sent_ns > LATEST_NS:
                self.under_way.remove(write)
                write.lost = True
        self.check()

    def land(self, number: int) -> None:
        """Let the store take a write, perhaps long after it was sent."""
        if self.under_way:
            self._land(self.under_way[number % len(self.under_way)])

    def lose(self, number: int) -> None:
        """Let a write be lost."""
        if self.under_way:
            self.under_way.pop(number % len(self.under_way)).lost = True

    def step(self, one: Machine, *, answered: bool = True) -> None:
        """Begin a round, or let the request it waits for end."""
        try:
            if one.round is None:
                one.round = self._chosen(one)
                self._sent(one, next(one.round))
            elif answered and not (one.write and one.write.lost):
                self._sent(one, one.round.send(self._answer(one)))
            else:
                self._sent(one, one.round.throw(Lost()))
        except (StopIteration, Lost):
            self._ended(one)
        self.check()

    def whole_round(self, one: Machine) -> None:
        """Let it go on until it waits for nothing."""
        self.step(one)
        while one.round is not None:
            self.step(one)

    def check(self) -> None:
        """Raise when two may write, or when a line of the database has two writers."""
        holding = [one for one in self.machines.values() if one.lessee.holds]
        if len(holding) > 1:
            raise TwoHolders([one.name for one in holding])
        for one in holding:
            line = one.lessee.epoch
            if self.lines.setdefault(line, one.name) != one.name:
                raise TwoHolders(f"line {line} of {self.lines[line]} and {one.name}")
            if line != max(self.lines):
                raise TwoHolders(f"{one.name} goes on with line {line} of {max(self.lines)}")
            self.takeovers += self._last not in {None, one.name}
            self._last = one.name

    @staticmethod
    def _chosen(one: Machine) -> Effects:
        if one.wants:
            return one.lessee.hold()
        if one.lessee.own and one.lessee.own.state is not State.RELEASED:
            return one.lessee.release()
        return one.lessee.look()

    def _sent(self, one: Machine, request: Get | Put) -> None:
        one.waits_for, one.write = request, None
        if isinstance(request, Put):
            released = request.record.state is State.RELEASED
            one.unsure = one.unsure or released  # a note on its disk, made before it is sent
            one.write = Write(one.name, request.record.encode(), self.true_ns, released)
            self.under_way.append(one.write)

    def _answer(self, one: Machine) -> bytes | None:
        if isinstance(one.waits_for, Get):
            return self.store.get(one.waits_for.host)
        if one.write in self.under_way:
            self._land(one.write)
        return None

    def _land(self, write: Write) -> None:
        self.under_way.remove(write)
        self.store[write.host] = write.content

    @staticmethod
    def _ended(one: Machine) -> None:
        one.round = one.waits_for = one.write = None
        one.unsure = one.lessee.unsure


def storm(world: World, seed: int, steps: int) -> None:
    """Do `steps` things to `world`, as chance has it."""
    chance = random.Random(seed)  # noqa: S311 - it must come out the same again
    world.populate(
        [
            (chance.choice((-DRIFT, 0, DRIFT)), chance.randrange(10**15))
            for _ in HOSTS[: 2 + seed % 2]
        ]
    )
    names = list(world.machines)
    wait_s = world.terms.wait_ns / NS
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
        one = world.machines[chance.choice(names)]
        match chance.choices(range(8), (30, 18, 2, 6, 1, 16, 1, 1))[0]:
            case 0:
                world.step(one)
            case 1:
                world.whole_round(one)
            case 2:
                world.step(one, answered=False)
            case 3:
                world.land(chance.randrange(9))
            case 4:
                world.lose(chance.randrange(9))
            case 5:
                world.wait(int(chance.choices(pauses, weights)[0] * NS))
            case 6:
                world.restart(one)
            case _:
                one.wants = not one.wants or chance.random() < 0.5

"""Who may write: a lease in the replica's store, safe with plain reads and writes alone.

Neither Backblaze B2 nor the S3 server of the tests writes on a condition, so nothing here leans on
that. Each machine writes one object of its own and reads those of the others. To hold or to renew,
a machine

1. writes its object and waits until the store says that it has it,
2. then reads every other machine's object, and
3. has the lease only if each of them is, by its own clock, unchanged for longer than a lease can
   last, or is absent, or says that its machine has given up;
4. and then only for `lease_ns` from the moment *before* it began to write.

Two machines that write at the same time cannot both miss the other's object, because each reads
after its own is there; docs/reference/standby.md has the proof and what it assumes. Pure: what is
to be sent is yielded, the answer is sent in, time is asked of `clock`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

from barnabee.core.schema import Standby

NS = 1_000_000_000


class State(StrEnum):
    """What a machine says of itself."""

    CLAIM = "claim"
    HOLD = "hold"
    RELEASED = "released"


@dataclass(frozen=True)
class Record:
    """What is in a machine's object; no two writes are ever equal (`nonce`)."""

    state: State
    epoch: int  # what it claims, holds, or held
    held_epoch: int  # the newest it ever held
    nonce: str

    def encode(self) -> bytes:
        """Return the object's content."""
        return json.dumps(asdict(self)).encode()


def decode(raw: bytes | None) -> Record | None:
    """Return what is in an object; ValueError when that cannot be a record. Pure."""
    if raw is None:
        return None
    try:
        found = json.loads(raw)
        state, nonce = State(found["state"]), str(found["nonce"])
        return Record(state, int(found["epoch"]), int(found["held_epoch"]), nonce)
    except (ValueError, TypeError, KeyError) as error:
        msg = f"it is no record of a lease: {raw[:80]!r}"
        raise ValueError(msg) from error


@dataclass(frozen=True)
class Terms:
    """The times, in nanoseconds."""

    lease_ns: int
    wait_ns: int  # for which another's object must be unchanged
    stop_ns: int

    @classmethod
    def of(cls, table: Standby) -> Terms:
        """Return the times of system.toml: the wait outlasts a lease on the slowest clock."""
        lease_ns, drift = table.lease_s * NS, table.clock_drift_permille
        wait_ns = -(-lease_ns * (1000 + drift) // (1000 - drift))
        return cls(lease_ns, wait_ns, table.stop_s * NS)


@dataclass(frozen=True)
class Get:
    """Read the object of `host`."""

    host: str


@dataclass(frozen=True)
class Put:
    """Write one's own object; once, never again by itself."""

    record: Record


@dataclass(frozen=True)
class Seen:
    """What was last read of another machine."""

    record: Record | None
    since_ns: int  # when the first answer that said so was there
    asked_ns: int  # when the last one that said so was asked for


# What a round yields, and what it is answered with: the object's content; None for Put.
Effects = Generator[Get | Put, bytes | None, None]


class Lessee:
    """One machine's part in it. An effect that fails is thrown into the round, which ends."""

    def __init__(
        self,
        host: str,
        others: Iterable[str],
        terms: Terms,
        *,
        clock: Callable[[], int],
        nonce: Callable[[], str],
        unsure: bool = False,
    ) -> None:
        """Know nothing yet; `unsure`: the last life may have given up without being heard."""
        self.host = host
        self.terms = terms
        self.own: Record | None = None
        self.seen: dict[str, Seen] = {}
        self._others = sorted(others)
        self._clock = clock
        self._nonce = nonce
        self._until_ns = 0
        self._not_before_ns = clock() + terms.wait_ns if unsure else 0

    @property
    def until_ns(self) -> int:
        """Return until when this machine may write; a moment gone by when it may not."""
        return self._until_ns

    @property
    def holds(self) -> bool:
        """Return whether it may write now."""
        return self._clock() < self._until_ns

    @property
    def unsure(self) -> bool:
        """Return whether something that says "released" may still be on its way."""
        return self._clock() < self._not_before_ns

    @property
    def epoch(self) -> int:
        """Return the line of the database that this machine held last; 0 for none."""
        return self.own.held_epoch if self.own else 0

    @property
    def newest(self) -> int:
        """Return the newest line that anybody is known to have held."""
        others = [seen.record.held_epoch for seen in self.seen.values() if seen.record]
        return max([self.epoch, *others])

    @property
    def superseded(self) -> bool:
        """Return whether another machine has held the lease since this one last did."""
        return self.newest > self.epoch

    @property
    def free(self) -> bool:
        """Return whether no other machine can have the lease, as far as was asked."""
        return all(host in self.seen for host in self._others) and self._all_quiet()

    def holder(self) -> str | None:
        """Return who holds the lease as far as can be told from here."""
        if self.holds:
            return self.host
        held = (host for host, seen in self.seen.items() if not self._quiet(seen))
        return next((host for host in held if self._says(host) is State.HOLD), None)

    def look(self) -> Effects:
        """Read everything, write nothing."""
        yield from self._read_own()
        yield from self._read_others()

    def hold(self) -> Effects:
        """Take the lease, or renew it; `holds` says whether it is there afterwards."""
        if self.own is None:
            yield from self._read_own()
        if not self.holds:
            yield from self._read_others()
            if self.unsure or not self._all_quiet():
                return
        if self.superseded or not self.epoch:  # a new line, which nobody hears of before it is sure
            line = 1 + max(self._epochs())
            if not (yield from self._round(Record(State.CLAIM, line, self.epoch, self._nonce()))):
                yield from self.release()  # so that the other need not wait for us
                return
        else:
            line = self.epoch
        sent_ns = self._clock()
        if (yield from self._round(Record(State.HOLD, line, line, self._nonce()))):
            self._until_ns = sent_ns + self.terms.lease_ns
        # Otherwise what was given before goes on to its own end.

    def release(self) -> Effects:
        """Give up, after the last write: the others need not wait for the end of the lease.

        If nobody hears of it, no claim follows for as long as they would have waited.
        """
        self._until_ns = 0
        earlier_ns = self._not_before_ns  # of one that was never answered: it may still arrive
        self._not_before_ns = self._clock() + self.terms.wait_ns
        yield from self._put(Record(State.RELEASED, self.epoch, self.epoch, self._nonce()))
        self._not_before_ns = earlier_ns

    def _round(self, record: Record) -> Generator[Get | Put, bytes | None, bool]:
        yield from self._put(record)
        yield from self._read_others()
        return self._all_quiet()

    def _put(self, record: Record) -> Effects:
        yield Put(record)
        self.own = record

    def _read_own(self) -> Effects:
        self.own = decode((yield Get(self.host)))

    def _read_others(self) -> Effects:
        for host in self._others:
            asked_ns = self._clock()
            record = decode((yield Get(host)))
            before = self.seen.get(host)
            same = before is not None and before.record == record
            since_ns = before.since_ns if before and same else self._clock()
            self.seen[host] = Seen(record, since_ns, asked_ns)

    def _all_quiet(self) -> bool:
        return all(self._quiet(self.seen[host]) for host in self._others)

    def _quiet(self, seen: Seen) -> bool:
        if seen.record is None or seen.record.state is State.RELEASED:
            return True
        return seen.asked_ns - seen.since_ns >= self.terms.wait_ns

    def _says(self, host: str) -> State | None:
        record = self.seen[host].record
        return record.state if record else None

    def _epochs(self) -> list[int]:
        records = [self.own, *(seen.record for seen in self.seen.values())]
        return [0, *(max(record.epoch, record.held_epoch) for record in records if record)]

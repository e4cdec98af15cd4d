"""Lease protocol: decides which machine may write, with plain reads and writes of an object store.

Neither Backblaze B2 nor the S3 server of the tests supports conditional writes, so none are used.
Each machine writes one object of its own and reads those of the others. To acquire or renew the
lease, a machine

1. writes its object and waits for the store's acknowledgement,
2. then reads every other machine's object, and
3. holds the lease only if each of them is absent, or released, or has been unchanged, by this
   machine's clock, for longer than a lease can last;
4. and then only for `lease_ns` from the moment *before* the write was sent.

Two machines that write at the same time cannot both miss the other's object, because each reads
after its own write is acknowledged; docs/reference/standby.md has the proof and its assumptions.
No I/O: requests are yielded, responses are sent in, time comes from `clock`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Generator, Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum

from barnabee.core.schema import StandbyConfig

NS = 1_000_000_000


class LeaseState(StrEnum):
    """State that a machine declares in its object."""

    CLAIM = "claim"
    HOLD = "hold"
    RELEASED = "released"


@dataclass(frozen=True)
class LeaseRecord:
    """Content of a machine's object; `nonce` makes every write different from all others."""

    state: LeaseState
    epoch: int  # claimed, held, or held last
    held_epoch: int  # newest ever held
    nonce: str

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()


def decode_record(raw: bytes | None) -> LeaseRecord | None:
    """Parse an object's content; None when the object is absent, ValueError when malformed."""
    if raw is None:
        return None
    try:
        found = json.loads(raw)
        state, nonce = LeaseState(found["state"]), str(found["nonce"])
        return LeaseRecord(state, int(found["epoch"]), int(found["held_epoch"]), nonce)
    except (ValueError, TypeError, KeyError) as error:
        msg = f"not a lease record: {raw[:80]!r}"
        raise ValueError(msg) from error


@dataclass(frozen=True)
class LeaseTiming:
    """Durations of the protocol."""

    lease_ns: int
    wait_ns: int  # how long another machine's object must be unchanged
    stop_ns: int

    @classmethod
    def from_config(cls, config: StandbyConfig) -> LeaseTiming:
        """Derive the wait so that it outlasts a lease on the slowest clock."""
        lease_ns, drift = config.lease_s * NS, config.clock_drift_permille
        wait_ns = -(-lease_ns * (1000 + drift) // (1000 - drift))
        return cls(lease_ns, wait_ns, config.stop_s * NS)


@dataclass(frozen=True)
class GetObject:
    """Request to read the object of `host`."""

    host: str


@dataclass(frozen=True)
class PutObject:
    """Request to write this machine's object, exactly once: a retry would break the proof."""

    record: LeaseRecord


@dataclass(frozen=True)
class Observation:
    """Last record read of another machine."""

    record: LeaseRecord | None
    unchanged_since_ns: int  # when the first response with this record arrived
    requested_ns: int  # when the latest request that returned this record was sent


# Yields requests and receives the object's content, or None for a PutObject.
Effects = Generator[GetObject | PutObject, bytes | None, None]


class LeaseProtocol:
    """One machine's side of the protocol.

    The caller performs the yielded requests and throws the error of a failed one into the
    generator, which then ends. `release_unconfirmed` says that an earlier process of this machine
    sent a release without getting an acknowledgement.
    """

    def __init__(
        self,
        host: str,
        others: Iterable[str],
        timing: LeaseTiming,
        *,
        clock: Callable[[], int],
        nonce: Callable[[], str],
        release_unconfirmed: bool = False,
    ) -> None:
        self.host = host
        self.timing = timing
        self.own_record: LeaseRecord | None = None
        self.observations: dict[str, Observation] = {}
        self._others = sorted(others)
        self._clock = clock
        self._nonce = nonce
        self._expires_ns = 0
        self._not_before_ns = clock() + timing.wait_ns if release_unconfirmed else 0

    @property
    def expires_ns(self) -> int:
        """End of this machine's lease by `clock`; in the past when it may not write."""
        return self._expires_ns

    @property
    def is_held(self) -> bool:
        return self._clock() < self._expires_ns

    @property
    def release_unconfirmed(self) -> bool:
        """Whether a release without acknowledgement may still reach the store."""
        return self._clock() < self._not_before_ns

    @property
    def epoch(self) -> int:
        """Database epoch that this machine held last; 0 for none."""
        return self.own_record.held_epoch if self.own_record else 0

    @property
    def newest_epoch(self) -> int:
        """Newest epoch that any machine is known to have held."""
        others = [other.record.held_epoch for other in self.observations.values() if other.record]
        return max([self.epoch, *others])

    @property
    def is_superseded(self) -> bool:
        """Whether another machine has held the lease since this one last did."""
        return self.newest_epoch > self.epoch

    @property
    def is_free(self) -> bool:
        """Whether no other machine can hold the lease, by the latest observations."""
        return self.observations.keys() >= set(self._others) and self._all_others_expired()

    def holder(self) -> str | None:
        """Return the host that holds the lease by the latest observations; None when unknown."""
        if self.is_held:
            return self.host
        for host, other in self.observations.items():
            holds = other.record is not None and other.record.state is LeaseState.HOLD
            if holds and not self._is_expired(other):
                return host
        return None

    def observe(self) -> Effects:
        """Read all objects without writing."""
        yield from self._read_own()
        yield from self._read_others()

    def acquire(self) -> Effects:
        """Acquire or renew the lease; `is_held` tells the result."""
        if self.own_record is None:
            yield from self._read_own()
        if not self.is_held:
            yield from self._read_others()
            if self.release_unconfirmed or not self._all_others_expired():
                return
        epoch = self.epoch
        if self.is_superseded or not epoch:
            # Claim a new epoch first, so that no machine reads it as held before it is certain.
            epoch = 1 + max(self._known_epochs())
            if not (yield from self._write_and_check(LeaseState.CLAIM, epoch, self.epoch)):
                yield from self.release()  # so that the other machine need not wait for the expiry
                return
        sent_ns = self._clock()
        if (yield from self._write_and_check(LeaseState.HOLD, epoch, epoch)):
            self._expires_ns = sent_ns + self.timing.lease_ns
        # Otherwise a lease acquired earlier stays valid until it expires.

    def release(self) -> Effects:
        """Release the lease after the last write, so that the others need not wait for its expiry.

        Without an acknowledgement, this machine acquires nothing for `wait_ns`.
        """
        self._expires_ns = 0
        earlier_ns = self._not_before_ns  # an earlier unacknowledged release may still arrive
        self._not_before_ns = self._clock() + self.timing.wait_ns
        yield from self._write_own(LeaseState.RELEASED, self.epoch, self.epoch)
        self._not_before_ns = earlier_ns

    def _write_and_check(
        self, state: LeaseState, epoch: int, held_epoch: int
    ) -> Generator[GetObject | PutObject, bytes | None, bool]:
        yield from self._write_own(state, epoch, held_epoch)
        yield from self._read_others()
        return self._all_others_expired()

    def _write_own(self, state: LeaseState, epoch: int, held_epoch: int) -> Effects:
        record = LeaseRecord(state, epoch, held_epoch, self._nonce())
        yield PutObject(record)
        self.own_record = record

    def _read_own(self) -> Effects:
        self.own_record = decode_record((yield GetObject(self.host)))

    def _read_others(self) -> Effects:
        for host in self._others:
            requested_ns = self._clock()
            record = decode_record((yield GetObject(host)))
            before = self.observations.get(host)
            same = before is not None and before.record == record
            since_ns = before.unchanged_since_ns if before and same else self._clock()
            self.observations[host] = Observation(record, since_ns, requested_ns)

    def _all_others_expired(self) -> bool:
        return all(self._is_expired(self.observations[host]) for host in self._others)

    def _is_expired(self, other: Observation) -> bool:
        if other.record is None or other.record.state is LeaseState.RELEASED:
            return True
        return other.requested_ns - other.unchanged_since_ns >= self.timing.wait_ns

    def _known_epochs(self) -> list[int]:
        records = [self.own_record, *(other.record for other in self.observations.values())]
        return [0, *(max(record.epoch, record.held_epoch) for record in records if record)]

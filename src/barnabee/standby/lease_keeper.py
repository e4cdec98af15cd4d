"""Lease keeper: performs the lease protocol's requests and publishes the resulting roles.

`LeaseProtocol` decides who may write and `decide_roles` what follows for this machine. The process
exits when the lease is about to be lost, and systemd then stops the units that are bound to it.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import structlog

from barnabee.clients.s3 import S3Bucket
from barnabee.core.errors import BarnabeeError, DependencyDown, LeaseNotHeld
from barnabee.core.schema import System
from barnabee.core.serve import notify
from barnabee.standby.lease import NS, Effects, GetObject, LeaseProtocol, LeaseState, LeaseTiming
from barnabee.standby.roles import DesiredRole, Role, RoleInputs, StateFiles, decide_roles
from barnabee.store import fence

POLL_S = 0.25  # of the desired role
IDLE_WATCHDOG_S = 60

log = structlog.get_logger()


@dataclass(frozen=True)
class Peers:
    """This machine and the others that may hold the lease."""

    host: str
    others: tuple[str, ...]
    default_role: DesiredRole
    writer_file: Path | None = None  # exists while litestream runs; the lease is renewed until then


class LeaseKeeper:
    """Keeper of one machine's lease."""

    def __init__(
        self,
        system: System,
        peers: Peers,
        files: StateFiles,
        bucket: S3Bucket,
        *,
        clock_ns: Callable[[], int] = fence.boot_time_ns,
    ) -> None:
        self._config = system.standby
        self._timing = LeaseTiming.from_config(system.standby)
        self._folder = f"{system.replica.path}-lease"
        self._peers = peers
        self._files = files
        self._bucket = bucket
        self._clock_ns = clock_ns
        self._store_answered = False
        self._reason = ""
        self.protocol = LeaseProtocol(
            peers.host,
            peers.others,
            self._timing,
            clock=clock_ns,
            nonce=lambda: uuid.uuid4().hex,
            release_unconfirmed=files.release_unconfirmed,
        )

    async def run(self) -> None:
        """Run until cancelled; LeaseNotHeld when the lease is about to be lost."""
        held = False
        while True:
            desired = self._files.read_desired_role(self._peers.default_role)
            await self._run_round(desired)
            self._publish(desired)
            holds = self._time_left_ns() > 0
            if held and not holds and desired is DesiredRole.HOLD:
                raise LeaseNotHeld(reason=f"the lease was not renewed: {self._reason or 'taken'}")
            held = holds
            self._feed_watchdog()
            await self._wait_for_next_round(desired)

    async def _run_round(self, desired: DesiredRole) -> None:
        """Exchange records with the store once, within the time that the lease has left."""
        left_s = self._time_left_ns() / NS
        limit_s = left_s if left_s > 0 else self._config.lease_s
        try:
            async with asyncio.timeout(limit_s):
                await self._perform(self._choose_effects(desired))
            self._store_answered, self._reason = True, ""
        except TimeoutError:
            self._reason = "the store did not answer in time"
        except (BarnabeeError, ValueError) as error:
            self._reason = str(error)
        if self._reason:
            log.warning("lease_round_failed", reason=self._reason)
        self._files.set_release_unconfirmed(self.protocol.release_unconfirmed)

    def _choose_effects(self, desired: DesiredRole) -> Effects:
        protocol = self.protocol
        if desired is DesiredRole.HOLD:
            return protocol.acquire()
        if protocol.is_held and self._is_replicating():
            return protocol.acquire()  # until the last page is in the replica
        if protocol.own_record and protocol.own_record.state is not LeaseState.RELEASED:
            return protocol.release()
        return protocol.observe()

    def _is_replicating(self) -> bool:
        return self._peers.writer_file is not None and self._peers.writer_file.exists()

    async def _perform(self, effects: Effects) -> None:
        """Send the protocol's requests one after another."""
        content: bytes | None = None
        try:
            request = next(effects)
            while True:
                try:
                    if isinstance(request, GetObject):
                        content = await self._bucket.get(self._key(request.host))
                    else:
                        if request.record.state is LeaseState.RELEASED:
                            fence.revoke_permit(self._files.runtime)
                            self._files.set_release_unconfirmed(True)
                        await self._bucket.put(self._key(self._peers.host), request.record.encode())
                        content = None
                except DependencyDown as error:
                    request = effects.throw(error)
                else:
                    request = effects.send(content)
        except StopIteration:
            return

    def _key(self, host: str) -> str:
        return f"{self._folder}/{host}.json"

    def _time_left_ns(self) -> int:
        """Return the time until writers must begin to stop."""
        return self.protocol.expires_ns - self._timing.stop_ns - self._clock_ns()

    def _publish(self, desired: DesiredRole) -> None:
        protocol = self.protocol
        inputs = RoleInputs(
            desired,
            holds_lease=self._time_left_ns() > 0,
            superseded=protocol.is_superseded,
            store_answered=self._store_answered,
            was_serving=self._files.was_serving,
            may_have_address=protocol.is_free and not self._files.is_address_yielded,
        )
        roles = decide_roles(inputs)
        if Role.HOLD in roles:
            permit = fence.WritePermit(protocol.host, protocol.epoch, protocol.expires_ns)
            fence.grant_permit(self._files.runtime, permit)
        elif not (desired is DesiredRole.FOLLOW and protocol.is_held):
            # After a demotion the permit stays, so that writers that stop can finish.
            fence.revoke_permit(self._files.runtime)
        if roles != self._files.read_roles():
            log.info("roles_changed", roles=sorted(roles), epoch=protocol.newest_epoch)
        self._write_status(desired, roles)
        self._files.publish_roles(roles)

    def _write_status(self, desired: DesiredRole, roles: Collection[Role]) -> None:
        protocol = self.protocol
        holder = protocol.holder()
        if holder not in {None, protocol.host}:
            self._files.set_address_yielded(False)  # once the other machine has taken over
        status = {
            "host": protocol.host,
            "wish": desired.value,
            "holder": holder,
            "line": protocol.newest_epoch,
            "own_line": protocol.epoch,
            "signs": sorted(roles),
            "left_s": round(max(0, protocol.expires_ns - self._clock_ns()) / NS, 1),
            "heard": not self._reason,
            "reason": self._reason,
        }
        self._files.write_status(status)

    def _feed_watchdog(self) -> None:
        """Set systemd's watchdog to the end of the lease, in case this process is too slow."""
        left_us = self._time_left_ns() // 1000
        limit_us = left_us if left_us > 0 else IDLE_WATCHDOG_S * 1_000_000
        notify("READY=1", "WATCHDOG=1", f"WATCHDOG_USEC={limit_us}")

    async def _wait_for_next_round(self, desired: DesiredRole) -> None:
        """Wait for the renewal interval, or until the desired role changes."""
        pause_s = float(self._config.renew_s)
        if desired is DesiredRole.HOLD and not self.protocol.is_held:
            pause_s *= 0.5 + random.random()  # noqa: S311 - so that two claimants do not collide
        if desired is DesiredRole.FOLLOW and self.protocol.is_held:
            pause_s = POLL_S
        until_ns = self._clock_ns() + int(pause_s * NS)
        while self._clock_ns() < until_ns:
            await asyncio.sleep(POLL_S)
            if self._files.read_desired_role(self._peers.default_role) is not desired:
                return

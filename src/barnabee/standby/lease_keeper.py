"""Keeps the lease: asks the store, renews in time, and shows what follows from it.

`Lessee` decides who may write, `signs` what that means here; this sends, waits and writes files.
It ends, and with it what systemd bound to it, when the lease is about to be lost.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path

import structlog

from barnabee.clients.s3 import Bucket
from barnabee.core.errors import BarnabeeError, DependencyDown, NotTheHolder
from barnabee.core.schema import System
from barnabee.core.sd_notify import notify
from barnabee.standby.lease import NS, Effects, Get, Lessee, State, Terms
from barnabee.standby.roles import Sign, View, Wish, signs
from barnabee.standby.state_files import Notes
from barnabee.store import fence

LOOK_EVERY_S = 0.25  # whether somebody wishes something else
IDLE_WATCHDOG_S = 60

log = structlog.get_logger()


@dataclass(frozen=True)
class House:
    """Who this machine is among those of the house."""

    host: str
    others: tuple[str, ...]
    default: Wish
    writer: Path | None = None  # there while litestream runs: the lease is kept until it is gone


class Keep:
    """The keeper of one machine's lease."""

    def __init__(
        self,
        system: System,
        house: House,
        notes: Notes,
        bucket: Bucket,
        *,
        clock_ns: Callable[[], int] = fence.now_ns,
    ) -> None:
        """Know nothing of the others yet."""
        self._table = system.standby
        self._terms = Terms.of(system.standby)
        self._folder = f"{system.replica.path}-lease"
        self._house = house
        self._notes = notes
        self._bucket = bucket
        self._clock_ns = clock_ns
        self._heard = False
        self._reason = ""
        self.lessee = Lessee(
            house.host,
            house.others,
            self._terms,
            clock=clock_ns,
            nonce=lambda: uuid.uuid4().hex,
            unsure=notes.unsure,
        )

    async def run(self) -> None:
        """Keep it until told otherwise; NotTheHolder when it is about to be lost."""
        held = False
        while True:
            wish = self._notes.wish(self._house.default)
            await self._turn(wish)
            self._show(wish)
            holds = self._time_left_ns() > 0
            if held and not holds and wish is Wish.HOLD:
                raise NotTheHolder(reason=f"the lease was not renewed: {self._reason or 'taken'}")
            held = holds
            self._feed()
            await self._pause(wish)

    async def _turn(self, wish: Wish) -> None:
        """Ask the store once, for as long as there is time."""
        left_s = self._time_left_ns() / NS
        limit_s = left_s if left_s > 0 else self._table.lease_s
        try:
            async with asyncio.timeout(limit_s):
                await self._drive(self._chosen(wish))
            self._heard, self._reason = True, ""
        except TimeoutError:
            self._reason = "the store did not answer in time"
        except (BarnabeeError, ValueError) as error:
            self._reason = str(error)
        if self._reason:
            log.warning("lease_not_asked", reason=self._reason)
        self._notes.set_unsure(self.lessee.unsure)

    def _chosen(self, wish: Wish) -> Effects:
        lessee = self.lessee
        if wish is Wish.HOLD:
            return lessee.hold()
        if lessee.holds and self._writing():
            return lessee.hold()  # until the last page is in the replica
        if lessee.own and lessee.own.state is not State.RELEASED:
            return lessee.release()
        return lessee.look()

    def _writing(self) -> bool:
        return self._house.writer is not None and self._house.writer.exists()

    async def _drive(self, effects: Effects) -> None:
        """Do what the protocol asks for, one request after another."""
        answer: bytes | None = None
        try:
            request = next(effects)
            while True:
                try:
                    if isinstance(request, Get):
                        answer = await self._bucket.get(self._key(request.host))
                    else:
                        if request.record.state is State.RELEASED:
                            fence.withdraw(self._notes.runtime)
                            self._notes.set_unsure(True)
                        await self._bucket.put(self._key(self._house.host), request.record.encode())
                        answer = None
                except DependencyDown as error:
                    request = effects.throw(error)
                else:
                    request = effects.send(answer)
        except StopIteration:
            return

    def _key(self, host: str) -> str:
        return f"{self._folder}/{host}.json"

    def _time_left_ns(self) -> int:
        """Return how long until writing must begin to stop."""
        return self.lessee.until_ns - self._terms.stop_ns - self._clock_ns()

    def _show(self, wish: Wish) -> None:
        lessee = self.lessee
        view = View(
            wish,
            holds=self._time_left_ns() > 0,
            superseded=lessee.superseded,
            heard=self._heard,
            served=self._notes.served,
            free=lessee.free and not self._notes.stands_aside,
        )
        shown = signs(view)
        if Sign.HOLD in shown:
            permit = fence.Permit(lessee.host, lessee.epoch, lessee.until_ns)
            fence.write(self._notes.runtime, permit)
        elif not (wish is Wish.FOLLOW and lessee.holds):  # those who stop may finish what they do
            fence.withdraw(self._notes.runtime)
        if shown != self._notes.shown():
            log.info("signs", signs=sorted(shown), line=lessee.newest)
        self._tell(wish, shown)
        self._notes.show(shown)

    def _tell(self, wish: Wish, shown: Collection[Sign]) -> None:
        lessee = self.lessee
        holder = lessee.holder()
        if holder not in {None, lessee.host}:
            self._notes.stand_aside(False)  # the other has it: this one may take over again
        status = {
            "host": lessee.host,
            "wish": wish.value,
            "holder": holder,
            "line": lessee.newest,
            "own_line": lessee.epoch,
            "signs": sorted(shown),
            "left_s": round(max(0, lessee.until_ns - self._clock_ns()) / NS, 1),
            "heard": not self._reason,
            "reason": self._reason,
        }
        self._notes.tell(status)

    def _feed(self) -> None:
        """Let systemd end this when the lease runs out, should this be too slow to notice."""
        left_us = self._time_left_ns() // 1000
        limit_us = left_us if left_us > 0 else IDLE_WATCHDOG_S * 1_000_000
        notify("READY=1", "WATCHDOG=1", f"WATCHDOG_USEC={limit_us}")

    async def _pause(self, wish: Wish) -> None:
        """Wait for the next round, or until something else is wished."""
        pause_s = float(self._table.renew_s)
        if wish is Wish.HOLD and not self.lessee.holds:
            pause_s *= 0.5 + random.random()  # noqa: S311 - so that two who want it take turns
        if wish is Wish.FOLLOW and self.lessee.holds:
            pause_s = LOOK_EVERY_S
        until_ns = self._clock_ns() + int(pause_s * NS)
        while self._clock_ns() < until_ns:
            await asyncio.sleep(LOOK_EVERY_S)
            if self._notes.wish(self._house.default) is not wish:
                return

"""The one owner of the card: drives the ledger, loads and unloads what it says, hands out leases.

On one event loop. A model that is there is leased at once; all else goes through `run`, which reads
the probe, steps the ledger and has its entries carried out. Decides nothing: the ledger does.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Any

import structlog

from barnabee.core.errors import BarnabeeError, ModelInUse, VramExhausted
from barnabee.gpu.model_lease import Use
from barnabee.gpu.model_runtime import Slot
from barnabee.gpu.vram import errors, loader
from barnabee.gpu.vram.events import UNLOADING, Entry, Kind
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.snapshot import View
from barnabee.gpu.vram.turns import Turns
from barnabee.gpu.vram.watchdog import LOAD_LIMIT_S, Watch

if TYPE_CHECKING:
    from barnabee.gpu.metrics import GpuMetrics
    from barnabee.gpu.vram.probe import Probe

TICK_S = 0.5
REMEMBERED = 100
ROUTINE = frozenset({Kind.GRANT, Kind.RELEASE})
TRIED = frozenset({Kind.LOADED, Kind.LOAD_FAILED, Kind.REFUSE})
ANSWERS = frozenset({Kind.GRANT, Kind.REFUSE})

log = structlog.get_logger()


class Manager:
    """Owns the card for as long as `run` runs."""

    def __init__(
        self,
        ledger: Ledger,
        slots: Iterable[Slot[Any]],
        probe: Probe,
        metrics: GpuMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Take the ledger, a slot for each of its models, and what reads the card."""
        self.ledger = ledger
        self.slots: Mapping[str, Slot[Any]] = {slot.name: slot for slot in slots}
        self.view = View(ledger, probe)
        self.metrics = metrics
        self.decisions: deque[tuple[float, Entry]] = deque(maxlen=REMEMBERED)
        self.turns = Turns(self._take, self._give, ledger.card.turn_limit_ms)
        self._clock = clock
        self._tickets = itertools.count(1)
        self._asking: dict[int, asyncio.Future[None]] = {}
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._ran_out: set[str] = set()  # loads that ran out of memory once
        self._watch = Watch(clock)
        self._standing: set[int] = set()  # tickets of uses without an end
        self._tried: set[str] = set()  # models whose first load is over, or was refused

    # ---- using models

    @asynccontextmanager
    async def lease(
        self, model: str, session: str = "", *, standing: bool = False
    ) -> AsyncIterator[Use[Any]]:
        """Keep `model` on the card while it is used.

        A `standing` lease, of an open microphone, is never overdue, and growth is not booked to it.
        Raises what `refusals` knows, or the error its load failed with.
        """
        slot = self.slots[model]
        if self.ledger.failing(model, self.now_ms()) and slot.error:
            raise slot.error
        ticket = await self._take(model, session)
        if standing:
            self._standing.add(ticket)
        try:
            use = Use(
                slot.check(),
                slot,
                make_room=lambda: self._make_room(model),
                renew=lambda: self.ledger.renew(ticket, self.now_ms()),
            )
            try:
                yield use
            finally:
                self.view.used.add(model)
                if use.inference_s:
                    self.metrics.record(slot.task, slot.model, use)
                    use.log()
        except BaseException:
            self._give_when_idle(slot, ticket)
            raise
        self._give(ticket)

    async def unload(self, model: str) -> None:
        """Unload a model by hand; ModelInUse when somebody uses it, and all stays as it was."""
        slot, deadline_s = self.slots[model], self._clock() + LOAD_LIMIT_S
        while model in self.ledger.resident:
            if any(lease.model == model for lease in self.ledger.leases.values()):
                raise ModelInUse(model=model, reason="somebody is using it")
            entries = self.ledger.dismiss(model, self.now_ms())
            self._carry_out(entries)
            await self._until(lambda: not self.ledger.moving(), LOAD_LIMIT_S)
            if model in self.ledger.resident and (entries or self._clock() >= deadline_s):
                raise ModelInUse(model=model, reason=str(slot.error or "it could not be unloaded"))

    # ---- what the card is like

    def now_ms(self) -> int:
        """Return the manager's time."""
        return int(self._clock() * 1000)

    def check(self) -> None:
        """Raise when the card is not looked after: a hung engine, load, driver or manager."""
        self._watch.check(self.slots.values(), self.view.trouble)

    def was_tried(self, model: str) -> bool:
        """Return whether a load of this model has ended, or was refused, since the start."""
        return model in self._tried

    # ---- driving

    async def run(self) -> None:
        """Look after the card until cancelled."""
        await self.view.first_look()
        try:
            while True:
                self._watch.looked()
                self.turns.end_overdue(self.now_ms())
                self._carry_out(self.ledger.step(self.now_ms(), self.view.sight()))
                self.metrics.vram.show(self.ledger, self.view.fresh)
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self._changed.wait()
                self._changed.clear()
                await self.view.look()
                users = self._users()
                computing = any(slot.lane.busy for slot in self.slots.values())
                self.view.book(users, computing=computing)
        finally:
            for task in self._tasks:
                task.cancel()

    def _carry_out(self, entries: Iterable[Entry]) -> None:
        for entry in entries:
            self._note(entry)
            if entry.kind is Kind.LOAD:
                self._start(self._load(entry.model))
            elif entry.kind in UNLOADING:
                self._start(self._unload(entry.model))
            elif entry.kind in ANSWERS and entry.request:
                self._answer(entry, entry.request.ticket)

    def _answer(self, entry: Entry, ticket: int) -> None:
        asked = self._asking.pop(ticket)
        if asked.done():  # whoever asked has gone
            if entry.kind is Kind.GRANT:
                self._give(ticket)
        elif entry.kind is Kind.GRANT:
            asked.set_result(None)
        else:
            asked.set_exception(self._refusal(entry))

    def _note(self, entry: Entry) -> None:
        if entry.kind in ROUTINE:
            return
        if entry.kind in TRIED:
            self._tried.add(entry.model)
        self.decisions.append((time.time(), entry))
        self.metrics.vram.count(entry)
        log.info(
            "vram",
            action=entry.kind.value,
            engine=entry.model,
            code=entry.code or None,
            reason=entry.why,
            charged_mib=entry.charged_mib,
        )

    def _refusal(self, entry: Entry) -> BarnabeeError:
        error = self.slots[entry.model].error
        if error is not None and error.code == entry.code:
            return error
        if self.view.reading is None and self.view.trouble:  # nothing is known of the card at all
            return self.view.trouble
        limit_ms = self.ledger.card.wait_limit_ms
        return errors.error(entry.code, entry.model, entry.why, limit_ms)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and task.exception():
            log.error("card work crashed", code="internal", exc_info=task.exception())

    async def _load(self, model: str) -> None:
        slot = self.slots[model]
        self._watch.loading(model)
        try:
            came = await loader.bring(slot, self.view, self.ledger.claims[model].left_mib)
        except VramExhausted as error:
            again = model not in self._ran_out
            self._ran_out ^= {model}
            if again:
                self._carry_out(self.ledger.ran_out(model, self.now_ms()))
            else:
                self._load_failed(model, error)
        except BarnabeeError as error:
            self._load_failed(model, error)
        else:
            self._ran_out.discard(model)
            self.metrics.load_seconds.labels(slot.task, slot.model).set(came.took_s)
            done = {"held_mib": came.held_mib, "took_ms": round(came.took_s * 1000)}
            self._carry_out(self.ledger.loaded(model, self.now_ms(), **done))
        finally:
            self._watch.loading(None)

    def _load_failed(self, model: str, error: BarnabeeError) -> None:
        now_ms = self.now_ms()
        self._carry_out(self.ledger.load_failed(model, now_ms, error.code, str(error)))

    async def _unload(self, model: str) -> None:
        held_mib = self.ledger.resident[model].held_mib
        try:
            left_mib = await loader.take_away(self.slots[model], self.view, held_mib, self._clock)
        except BarnabeeError as error:
            self._carry_out(self.ledger.kept(model, self.now_ms(), str(error)))
            return
        self._carry_out(self.ledger.unloaded(model, self.now_ms(), left_mib=left_mib))

    async def _make_room(self, model: str) -> None:
        """Evict by rule because an inference ran out of memory; wait until that is done."""
        await self._until(lambda: not self.ledger.moving(), LOAD_LIMIT_S)
        self._carry_out(self.ledger.ran_out(model, self.now_ms()))
        await self._until(lambda: not self.ledger.unloading, 2 * loader.BACK_LIMIT_S)

    async def _until(self, done: Callable[[], bool], limit_s: float) -> None:
        deadline_s = self._clock() + limit_s
        while not done() and self._clock() < deadline_s:  # noqa: ASYNC110 - a driver has no event
            await asyncio.sleep(loader.LOOK_EVERY_S)

    async def _take(self, model: str, session: str, *, turn: bool = False) -> int:
        ticket = next(self._tickets)
        now_ms = self.now_ms()
        asked: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._asking[ticket] = asked
        self._carry_out(self.ledger.ask(ticket, model, session, now_ms, turn=turn))
        if not asked.done():
            self._changed.set()
        try:
            await asked
        except asyncio.CancelledError:
            if ticket in self.ledger.leases:
                self._give(ticket)
            raise
        self.metrics.vram.waited(model, (self.now_ms() - now_ms) / 1000)
        return ticket

    def _give(self, ticket: int) -> None:
        self._standing.discard(ticket)
        self._carry_out(self.ledger.release(ticket, self.now_ms()))
        if self.ledger.waiting:
            self._changed.set()

    def _give_when_idle(self, slot: Slot[Any], ticket: int) -> None:
        """Give a lease back once the engine computes no more: nobody may take its memory before."""
        if not slot.lane.busy:
            self._give(ticket)
            return

        async def later() -> None:
            await self._until(lambda: not slot.lane.busy, math.inf)
            self._give(ticket)

        self._start(later())

    def _users(self) -> set[str]:
        """Return the models that somebody computes with; turns and open microphones only hold."""
        for ticket in self._standing:
            self.ledger.renew(ticket, self.now_ms())
        holding = self._standing | self.turns.tickets()
        leases = self.ledger.leases.items()
        return {lease.model for ticket, lease in leases if ticket not in holding}

"""VRAM manager: drives the ledger, loads and unloads models, and grants leases.

Runs on one event loop. A loaded model is leased at once; all else happens in `run`, which reads the
probe, steps the ledger and carries out its events. All decisions are the ledger's.
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
from barnabee.gpu.model_lease import ModelLease
from barnabee.gpu.model_runtime import ModelRuntime
from barnabee.gpu.vram import memory_monitor, types
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.memory_monitor import LOAD_TIMEOUT_S, ManagerWatchdog
from barnabee.gpu.vram.queue import TurnRegistry
from barnabee.gpu.vram.types import UNLOAD_KINDS, EventKind, LedgerEvent

if TYPE_CHECKING:
    from barnabee.gpu.metrics import GpuMetrics
    from barnabee.gpu.vram.probe import VramProbe

TICK_S = 0.5
MAX_DECISIONS_KEPT = 100
ROUTINE_EVENTS = frozenset({EventKind.GRANT, EventKind.RELEASE})
LOAD_OUTCOMES = frozenset({EventKind.LOADED, EventKind.LOAD_FAILED, EventKind.REFUSE})
REQUEST_OUTCOMES = frozenset({EventKind.GRANT, EventKind.REFUSE})

log = structlog.get_logger()


class VramManager:
    """Owner of the GPU's memory while `run` is running."""

    def __init__(
        self,
        ledger: Ledger,
        runtimes: Iterable[ModelRuntime[Any]],
        probe: VramProbe,
        metrics: GpuMetrics,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`runtimes` has one runtime for each model of the ledger."""
        self.ledger = ledger
        self.runtimes: Mapping[str, ModelRuntime[Any]] = {
            runtime.name: runtime for runtime in runtimes
        }
        self.memory = memory_monitor.MemoryMonitor(ledger, probe)
        self.metrics = metrics
        self.decisions: deque[tuple[float, LedgerEvent]] = deque(maxlen=MAX_DECISIONS_KEPT)
        self.turns = TurnRegistry(self._acquire, self._release, ledger.gpu.turn_limit_ms)
        self._clock = clock
        self._tickets = itertools.count(1)
        self._pending: dict[int, asyncio.Future[None]] = {}
        self._changed = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._out_of_memory_once: set[str] = set()  # models whose load is retried
        self._watchdog = ManagerWatchdog(clock)
        self._standing: set[int] = set()  # tickets of standing leases
        self._attempted: set[str] = set()  # models whose first load has ended or was refused

    @asynccontextmanager
    async def lease(
        self, model: str, session: str = "", *, standing: bool = False
    ) -> AsyncIterator[ModelLease[Any]]:
        """Lease `model`, which stays loaded for the block.

        A `standing` lease (an open microphone) never expires and memory growth is not attributed to
        it. Raises the errors of `make_refusal_error`, or the error of the model's failed load.
        """
        runtime = self.runtimes[model]
        if self.ledger.has_failed_recently(model, self.now_ms()) and runtime.error:
            raise runtime.error
        ticket = await self._acquire(model, session)
        if standing:
            self._standing.add(ticket)
        try:
            use = ModelLease(
                runtime.require_engine(),
                runtime,
                evict=lambda: self._evict_for(model),
                renew=lambda: self.ledger.renew(ticket, self.now_ms()),
            )
            try:
                yield use
            finally:
                self.memory.used_models.add(model)
                if use.inference_s:
                    self.metrics.record_usage(runtime.task, runtime.model_id, use)
                    use.log_usage()
        except BaseException:
            self._release_when_idle(runtime, ticket)
            raise
        self._release(ticket)

    async def unload(self, model: str) -> None:
        """Unload a model on request; ModelInUse, without effect, while it is leased."""
        runtime, deadline_s = self.runtimes[model], self._clock() + LOAD_TIMEOUT_S
        while model in self.ledger.resident:
            if any(lease.model == model for lease in self.ledger.leases.values()):
                raise ModelInUse(model=model, reason="a session is using it")
            events = self.ledger.request_unload(model, self.now_ms())
            self._carry_out(events)
            await self._wait_until(lambda: not self.ledger.in_transition(), LOAD_TIMEOUT_S)
            if model in self.ledger.resident and (events or self._clock() >= deadline_s):
                raise ModelInUse(model=model, reason=str(runtime.error or "unloading failed"))

    def now_ms(self) -> int:
        return int(self._clock() * 1000)

    def check(self) -> None:
        """Raise for a hung engine, load, driver or manager."""
        self._watchdog.check(self.runtimes.values(), self.memory.error)

    def has_attempted_load(self, model: str) -> bool:
        """Return whether a load of this model has ended or was refused since the start."""
        return model in self._attempted

    async def run(self) -> None:
        """Manage the GPU's memory until cancelled."""
        await self.memory.measure_baseline()
        try:
            while True:
                self._watchdog.record_cycle()
                self.turns.end_overdue(self.now_ms())
                self._carry_out(self.ledger.step(self.now_ms(), self.memory.measured_memory()))
                self.metrics.vram.update(self.ledger, self.memory.current_reading)
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK_S):
                        await self._changed.wait()
                self._changed.clear()
                await self.memory.refresh()
                active = self._active_models()
                computing = any(runtime.is_busy for runtime in self.runtimes.values())
                self.memory.attribute_growth(active, computing=computing)
        finally:
            for task in self._tasks:
                task.cancel()

    def _carry_out(self, events: Iterable[LedgerEvent]) -> None:
        for event in events:
            self._record_decision(event)
            if event.kind is EventKind.LOAD:
                self._start(self._load(event.model))
            elif event.kind in UNLOAD_KINDS:
                self._start(self._unload(event.model))
            elif event.kind in REQUEST_OUTCOMES and event.request:
                self._resolve_request(event, event.request.ticket)

    def _resolve_request(self, event: LedgerEvent, ticket: int) -> None:
        granted = self._pending.pop(ticket)
        if granted.done():  # the caller was cancelled
            if event.kind is EventKind.GRANT:
                self._release(ticket)
        elif event.kind is EventKind.GRANT:
            granted.set_result(None)
        else:
            granted.set_exception(self._make_error(event))

    def _record_decision(self, event: LedgerEvent) -> None:
        if event.kind in ROUTINE_EVENTS:
            return
        if event.kind in LOAD_OUTCOMES:
            self._attempted.add(event.model)
        self.decisions.append((time.time(), event))
        self.metrics.vram.count_decision(event)
        log.info(
            "vram",
            action=event.kind.value,
            engine=event.model,
            code=event.code or None,
            reason=event.why,
            charged_mib=event.charged_mib,
        )

    def _make_error(self, event: LedgerEvent) -> BarnabeeError:
        error = self.runtimes[event.model].error
        if error is not None and error.code == event.code:
            return error
        if self.memory.reading is None and self.memory.error:  # the driver never answered
            return self.memory.error
        limit_ms = self.ledger.gpu.wait_limit_ms
        return types.make_refusal_error(event.code, event.model, event.why, limit_ms)

    def _start(self, work: Any) -> None:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._task_ended)

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        self._changed.set()
        if not task.cancelled() and task.exception():
            log.error("vram task crashed", code="internal", exc_info=task.exception())

    async def _load(self, model: str) -> None:
        runtime, left_mib = self.runtimes[model], self.ledger.reservations[model].left_mib
        self._watchdog.record_load(model)
        try:
            measured = await memory_monitor.load_and_measure(runtime, self.memory, left_mib)
        except VramExhausted as error:
            retry = model not in self._out_of_memory_once
            self._out_of_memory_once ^= {model}
            if retry:
                self._carry_out(self.ledger.record_out_of_memory(model, self.now_ms()))
            else:
                self._load_failed(model, error)
        except BarnabeeError as error:
            self._load_failed(model, error)
        else:
            self._out_of_memory_once.discard(model)
            self.metrics.load_seconds.labels(runtime.task, runtime.model_id).set(
                measured.duration_s
            )
            result = {"held_mib": measured.held_mib, "took_ms": round(measured.duration_s * 1000)}
            self._carry_out(self.ledger.record_loaded(model, self.now_ms(), **result))
        finally:
            self._watchdog.record_load(None)

    def _load_failed(self, model: str, error: BarnabeeError) -> None:
        now_ms = self.now_ms()
        self._carry_out(self.ledger.record_load_failed(model, now_ms, error.code, str(error)))

    async def _unload(self, model: str) -> None:
        held_mib = self.ledger.resident[model].held_mib
        try:
            left_mib = await memory_monitor.unload_and_measure(
                self.runtimes[model], self.memory, held_mib, self._clock
            )
        except BarnabeeError as error:
            self._carry_out(self.ledger.record_unload_refused(model, self.now_ms(), str(error)))
            return
        self._carry_out(self.ledger.record_unloaded(model, self.now_ms(), left_mib=left_mib))

    async def _evict_for(self, model: str) -> None:
        """Evict idle, less important models after an inference ran out of memory."""
        await self._wait_until(lambda: not self.ledger.in_transition(), LOAD_TIMEOUT_S)
        self._carry_out(self.ledger.record_out_of_memory(model, self.now_ms()))
        await self._wait_until(
            lambda: not self.ledger.unloading, 2 * memory_monitor.RECLAIM_TIMEOUT_S
        )

    async def _wait_until(self, condition: Callable[[], bool], limit_s: float) -> None:
        deadline_s = self._clock() + limit_s
        while not condition() and self._clock() < deadline_s:  # noqa: ASYNC110 - driver has no event
            await asyncio.sleep(memory_monitor.POLL_INTERVAL_S)

    async def _acquire(self, model: str, session: str, *, turn: bool = False) -> int:
        ticket = next(self._tickets)
        now_ms = self.now_ms()
        granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._pending[ticket] = granted
        self._carry_out(self.ledger.request(ticket, model, session, now_ms, turn=turn))
        if not granted.done():
            self._changed.set()
        try:
            await granted
        except asyncio.CancelledError:
            if ticket in self.ledger.leases:
                self._release(ticket)
            raise
        self.metrics.vram.record_wait(model, (self.now_ms() - now_ms) / 1000)
        return ticket

    def _release(self, ticket: int) -> None:
        self._standing.discard(ticket)
        self._carry_out(self.ledger.release(ticket, self.now_ms()))
        if self.ledger.waiting:
            self._changed.set()

    def _release_when_idle(self, runtime: ModelRuntime[Any], ticket: int) -> None:
        """Release a lease once the engine is idle, so that its memory is not taken before."""
        if not runtime.is_busy:
            self._release(ticket)
            return

        async def release_later() -> None:
            await self._wait_until(lambda: not runtime.is_busy, math.inf)
            self._release(ticket)

        self._start(release_later())

    def _active_models(self) -> set[str]:
        """Return the models in use by inferences; turns and standing leases do not count."""
        for ticket in self._standing:
            self.ledger.renew(ticket, self.now_ms())
        idle = self._standing | self.turns.held_tickets()
        leases = self.ledger.leases.items()
        return {lease.model for ticket, lease in leases if ticket not in idle}

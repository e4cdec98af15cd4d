"""VRAM ledger: the state machine of resident models, leases and waiting requests.

It has no clock and does no I/O: the driver passes the time and the measured memory, carries out the
returned events (LOAD and the kinds of unload) and reports the outcome with `record_loaded` and so
on. One load or one set of unloads is in transition at a time. A model is charged from the start of
its load to the end of its unload. Preloaded models are loaded when there is room and no request
waits.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from barnabee.core.schema import GpuConfig, ModelConfig
from barnabee.gpu.vram import budget, queue
from barnabee.gpu.vram.queue import PreloadList, WaitQueue
from barnabee.gpu.vram.types import (
    QUEUE_FULL,
    TIMED_OUT,
    AlreadyLoaded,
    Decision,
    EventKind,
    Evict,
    GpuCapacity,
    LedgerEvent,
    Load,
    MeasuredMemory,
    ModelRequest,
    Refuse,
    Reservation,
    ResidentModel,
    VramLease,
    Wait,
)

LOWEST_PRIORITY = 10  # less important than any model
Events = list[LedgerEvent]


class Ledger:
    """State of one GPU's memory. Not thread-safe: one driver, one step at a time."""

    def __init__(self, gpu: GpuConfig, models: Mapping[str, ModelConfig]) -> None:
        self.gpu = gpu
        self.models = models
        self.reservations = {n: Reservation.from_config(n, m) for n, m in models.items()}
        self.resident: dict[str, ResidentModel] = {}
        self.leases: dict[int, VramLease] = {}  # by ticket
        self.waiting = WaitQueue(gpu.queue_depth)
        self.loading: str | None = None
        self.unloading: frozenset[str] = frozenset()
        self._preload = PreloadList()

    @property
    def charged_mib(self) -> int:
        """Memory charged for all resident models."""
        return budget.sum_charged_mib(self.resident.values())

    def request(
        self, ticket: int, model: str, session: str, now_ms: int, *, turn: bool = False
    ) -> Events:
        """Grant a lease at once or queue the request for `step`; `ticket` must be a new number."""
        deadline_ms, priority = now_ms + self.gpu.wait_limit_ms, self.reservations[model].priority
        request = ModelRequest(ticket, model, priority, session, now_ms, deadline_ms, turn)
        if self._can_grant(request):
            return [self._grant(request, now_ms)]
        rejected = self.waiting.add(request)
        return [self._refuse(rejected, now_ms, QUEUE_FULL, "the queue is full")] if rejected else []

    def step(self, now_ms: int, memory: MeasuredMemory) -> Events:
        """Advance the state; the driver calls it after each change and at each deadline."""
        events = [
            self._refuse(request, now_ms, TIMED_OUT, "waited too long")
            for request in queue.find_expired(self.waiting.requests, now_ms)
        ]
        if not self.in_transition():
            events += self._release_memory(now_ms, memory)
        events += self._serve_queue(now_ms, memory)
        return events if self.waiting else events + self._preload_next(now_ms, memory)

    def release(self, ticket: int, now_ms: int) -> Events:
        lease = self.leases.pop(ticket)
        self._mark_used(lease.model, now_ms)
        return [self._event(now_ms, EventKind.RELEASE, lease.model, lease.session)]

    def renew(self, ticket: int, now_ms: int) -> None:
        """Restart a lease's time limit after progress of its holder."""
        lease = self.leases[ticket]
        until_ms = max(lease.until_ms, now_ms + self.models[lease.model].lease_limit_ms)
        self.leases[ticket] = replace(lease, until_ms=until_ms)

    def has_failed_recently(self, model: str, now_ms: int) -> bool:
        """Return whether the last load failed within `PRELOAD_RETRY_MS`."""
        return model not in self.resident and self._preload.is_backing_off(model, now_ms)

    def request_unload(self, model: str, now_ms: int) -> Events:
        """Unload an idle model on request; no effect while it is leased or a model is moving."""
        leased = any(lease.model == model for lease in self.leases.values())
        if leased or self.in_transition() or model not in self.resident:
            return []
        self._preload.exclude(model)
        return self._start_unload([model], now_ms, EventKind.MANUAL, "requested")

    def record_out_of_memory(self, model: str, now_ms: int) -> Events:
        """Evict all idle, less important models after an unexpected out-of-memory error.

        A failed load is planned again while requests wait for the model. No effect while another
        model is in transition: the caller reports again afterwards.
        """
        if self.in_transition() - {self.loading if self.loading == model else None}:
            return []
        if self.loading == model:
            self.loading = None
            del self.resident[model]
        victims = budget.select_oom_victims(
            self.resident.values(), self.reservations[model], self.leases.values()
        )
        event = self._event(now_ms, EventKind.OUT_OF_MEMORY, model, "allocation failed")
        why = f"{model} ran out of memory"
        return [event, *self._start_unload(victims, now_ms, EventKind.EVICT, why)]

    def record_loaded(self, model: str, now_ms: int, *, held_mib: int, took_ms: int) -> Events:
        """Record the end of the current load with its measured memory and duration."""
        self.loading = None
        self.reservations[model] = replace(self.reservations[model], reload_ms=took_ms)
        self.record_measurement(model, held_mib=held_mib, highest_mib=held_mib)
        self._mark_used(model, now_ms)
        why = f"{held_mib} MiB in {took_ms} ms"
        return [self._event(now_ms, EventKind.LOADED, model, why)]

    def record_load_failed(self, model: str, now_ms: int, code: str, why: str) -> Events:
        """Record the failure of the current load and refuse all requests for the model."""
        self.loading = None
        self._preload.record_failure(model, now_ms)
        del self.resident[model]
        failed = self._event(now_ms, EventKind.LOAD_FAILED, model, why, code)
        requests = (request for request in self.waiting if request.model == model)
        return [failed, *(self._refuse(request, now_ms, code, why) for request in requests)]

    def record_unloaded(self, model: str, now_ms: int, *, left_mib: int = 0) -> Events:
        """Record the end of an unload; `left_mib` were not freed."""
        self.unloading -= {model}
        self.reservations[model] = replace(self.reservations[model], left_mib=left_mib)
        del self.resident[model]
        why = f"{left_mib} MiB were not freed" if left_mib else ""
        return [self._event(now_ms, EventKind.UNLOADED, model, why)]

    def record_unload_refused(self, model: str, now_ms: int, why: str) -> Events:
        """Record that the engine refused to unload: the model stays resident."""
        self.unloading -= {model}
        return [self._event(now_ms, EventKind.UNLOAD_REFUSED, model, why)]

    def record_measurement(self, model: str, *, held_mib: int, highest_mib: int) -> None:
        """Record a model's memory at rest and its peak; the highest peak is remembered."""
        known, resident = self.reservations[model], self.resident.get(model)
        peak_mib = max(known.measured_mib, highest_mib, held_mib)
        self.reservations[model] = reservation = replace(known, measured_mib=peak_mib)
        if resident:
            self.resident[model] = replace(resident, reservation=reservation, held_mib=held_mib)

    def in_transition(self) -> frozenset[str]:
        """Return the models that are being loaded or unloaded."""
        return self.unloading | ({self.loading} if self.loading else set())

    def _plan(self, model: str, now_ms: int, memory: MeasuredMemory) -> Decision:
        return budget.plan(
            self.resident.values(),
            self.reservations[model],
            GpuCapacity.from_config(self.gpu, memory),
            memory.free_mib,
            self.leases.values(),
            now_ms,
        )

    def _release_memory(self, now_ms: int, memory: MeasuredMemory) -> Events:
        models, leases = self.resident.values(), self.leases.values()
        idle = budget.select_idle_models(models, leases, now_ms, self.gpu.idle_unload_s * 1000)
        if idle:
            why = f"not used for {self.gpu.idle_unload_s} s"
            return self._start_unload(idle, now_ms, EventKind.IDLE, why)
        capacity = GpuCapacity.from_config(self.gpu, memory)
        victims = budget.select_pressure_victims(models, capacity, memory.free_mib, leases)
        why = f"{memory.other_mib} MiB held outside the budget, {memory.free_mib} MiB free"
        return self._start_unload(victims, now_ms, EventKind.PRESSURE, why)

    def _serve_queue(self, now_ms: int, memory: MeasuredMemory) -> Events:
        """Grant what is loaded, in queue order; of the others only the first may load.

        The models it waits for are closed to new sessions, so that they become idle.
        """
        events: Events = []
        self.waiting.closed_models = frozenset()
        blocked = bool(self.in_transition())
        for request in self.waiting:
            if self._can_grant(request):
                events.append(self._grant(request, now_ms))
            elif not blocked:
                events += self._advance(request, now_ms, memory)
                blocked = bool(self.in_transition()) or request in self.waiting.requests
        return events

    def _preload_next(
        self, now_ms: int, memory: MeasuredMemory, before: int = LOWEST_PRIORITY
    ) -> Events:
        """Load the next preloaded model that is more important than `before`, if there is room."""
        events: Events = []
        if self.in_transition():
            return events
        for name in self._preload.sort_models(self.reservations.values()):
            missing = name not in self.resident and self.reservations[name].priority < before
            if not missing or self._preload.is_backing_off(name, now_ms):
                continue
            match self._plan(name, now_ms, memory):
                case Load() as load:
                    return [*events, self._start_load(name, now_ms, load.why)]
                case Evict(victims) as evict:
                    why = f"for {name}: {evict.why}"
                    return events + self._start_unload(victims, now_ms, EventKind.EVICT, why)
                case Refuse(code) as refusal if self._preload.record_refusal(name, code):
                    events.append(self._event(now_ms, EventKind.REFUSE, name, refusal.why, code))
        return events

    def _advance(self, request: ModelRequest, now_ms: int, memory: MeasuredMemory) -> Events:
        events, model = self._preload_next(now_ms, memory, request.priority), request.model
        if self.in_transition():
            return events
        match self._plan(model, now_ms, memory):
            case Load() as load:
                events.append(self._start_load(model, now_ms, load.why, request))
            case Evict() as evict:
                why = f"for {model}: {evict.why}"
                events += self._start_unload(evict.victims, now_ms, EventKind.EVICT, why, request)
            case Wait() as wait if self.waiting.set_awaited(request, wait.models):
                events.append(self._event(now_ms, EventKind.WAIT, model, wait.why, "", request))
            case Refuse() as refusal:
                events.append(self._refuse(request, now_ms, refusal.code, refusal.why))
            case Wait() | AlreadyLoaded():
                pass
        return events

    def _can_grant(self, request: ModelRequest) -> bool:
        name = request.model
        if name not in self.resident or name in {self.loading, *self.unloading}:
            return False
        if name not in self.waiting.closed_models:
            return True
        wanted = (name, request.session)
        return any((lease.model, lease.session) == wanted for lease in self.leases.values())

    def _grant(self, request: ModelRequest, now_ms: int) -> LedgerEvent:
        self.waiting.remove(request)
        limit_ms = self.models[request.model].lease_limit_ms
        until_ms = now_ms + (self.gpu.turn_limit_ms if request.turn else limit_ms)
        self.leases[request.ticket] = VramLease(request.model, request.session, until_ms)
        self._mark_used(request.model, now_ms)
        why = f"after {now_ms - request.asked_ms} ms"
        return self._event(now_ms, EventKind.GRANT, request.model, why, request=request)

    def _refuse(self, request: ModelRequest, now_ms: int, code: str, why: str) -> LedgerEvent:
        self.waiting.remove(request)
        return self._event(now_ms, EventKind.REFUSE, request.model, why, code, request)

    def _start_load(
        self, model: str, now_ms: int, why: str, request: ModelRequest | None = None
    ) -> LedgerEvent:
        self.loading = model
        self._preload.record_load(model)
        known = self.reservations[model]
        self.resident[model] = ResidentModel(known, known.charge_mib, now_ms)
        return self._event(now_ms, EventKind.LOAD, model, why, request=request)

    def _start_unload(
        self,
        models: Iterable[str],
        now_ms: int,
        kind: EventKind,
        why: str,
        request: ModelRequest | None = None,
    ) -> Events:
        names = tuple(models)
        self.unloading |= set(names)
        return [self._event(now_ms, kind, name, why, request=request) for name in names]

    def _mark_used(self, model: str, now_ms: int) -> None:
        resident, reservation = self.resident[model], self.reservations[model]
        self.resident[model] = replace(resident, reservation=reservation, last_used_ms=now_ms)

    def _event(
        self,
        now_ms: int,
        kind: EventKind,
        model: str,
        why: str = "",
        code: str = "",
        request: ModelRequest | None = None,
    ) -> LedgerEvent:
        return LedgerEvent(now_ms, kind, model, self.charged_mib, why, code, request)

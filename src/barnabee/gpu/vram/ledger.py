"""What is on the card, who uses it, who waits for it: every step from one state to the next.

Holds the state and applies `budget` and `queue` to it. Starts nothing, measures nothing, has no
clock: whoever drives it tells the time and what the card says, carries out the entries it returns
(LOAD, and the three kinds of unloading) and reports back with `loaded`, `unloaded` and so on. One
load, or one set of unloadings, is under way at a time. What should be there from the start is
loaded by the same steps whenever there is room and nobody waits. A model counts from the moment
its loading begins until its unloading is reported done. `simulate` drives all this.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from barnabee.core.schema import Card, Model
from barnabee.gpu.vram import budget, queue
from barnabee.gpu.vram.events import OVERLOADED, TIMED_OUT, Entry, Kind
from barnabee.gpu.vram.preload import Wishes
from barnabee.gpu.vram.queue import Line, Request
from barnabee.gpu.vram.types import (
    Capacity,
    Claim,
    Decision,
    Evict,
    Lease,
    Load,
    Refuse,
    Resident,
    Sight,
    Use,
    Wait,
)

LEAST = 10  # less important than any model


class Ledger:
    """The state. Not thread-safe: one driver, one step at a time."""

    def __init__(self, card: Card, models: Mapping[str, Model]) -> None:
        """Begin with an empty card."""
        self.card = card
        self.models = models
        self.claims = {name: Claim.of(name, model) for name, model in models.items()}
        self.resident: dict[str, Resident] = {}
        self.leases: dict[int, Lease] = {}  # by ticket
        self.waiting = Line(card.queue_depth)
        self.loading: str | None = None
        self.unloading: frozenset[str] = frozenset()
        self._wishes = Wishes()

    @property
    def charged_mib(self) -> int:
        """Return what all models count for."""
        return budget.charged_mib(self.resident.values())

    def ask(
        self, ticket: int, model: str, session: str, now_ms: int, *, turn: bool = False
    ) -> list[Entry]:
        """Grant the model at once, or put the request in line; `step` goes on from there.

        `ticket` is the caller's, a number it has not used before.
        """
        deadline_ms = now_ms + self.card.wait_limit_ms
        priority = self.claims[model].priority
        request = Request(ticket, model, priority, session, now_ms, deadline_ms, turn)
        if self._usable(request):
            return [self._grant(request, now_ms)]
        away = self.waiting.join(request)
        if away is None:
            return []
        return [self._refuse(away, now_ms, OVERLOADED, "the line is full")]

    def step(self, now_ms: int, sight: Sight) -> list[Entry]:
        """Return everything that happens now; call it after each change and at each deadline."""
        entries = [
            self._refuse(request, now_ms, TIMED_OUT, "waited too long")
            for request in queue.expired(self.waiting.requests, now_ms)
        ]
        if not self.moving():
            entries += self._tidy(now_ms, sight)
        entries += self._serve(now_ms, sight)
        return entries if self.waiting else entries + self._fill(now_ms, sight)

    def release(self, ticket: int, now_ms: int) -> list[Entry]:
        """Take a lease back."""
        lease = self.leases.pop(ticket)
        self._touch(lease.model, now_ms)
        return [self._entry(now_ms, Kind.RELEASE, lease.model, lease.session)]

    def renew(self, ticket: int, now_ms: int) -> None:
        """Begin a lease's time anew: its holder has shown that it gets on."""
        lease = self.leases[ticket]
        until_ms = max(lease.until_ms, now_ms + self.models[lease.model].lease_limit_ms)
        self.leases[ticket] = replace(lease, until_ms=until_ms)

    def failing(self, model: str, now_ms: int) -> bool:
        """Return whether its load has failed just now, so that asking again is in vain."""
        return model not in self.resident and self._wishes.resting(model, now_ms)

    def dismiss(self, model: str, now_ms: int) -> list[Entry]:
        """Unload a model that nobody uses because somebody wants that; nothing while busy."""
        leased = any(lease.model == model for lease in self.leases.values())
        if leased or self.moving() or model not in self.resident:
            return []
        self._wishes.dismissed(model)
        return self._unload([model], now_ms, Kind.BY_HAND, "asked for")

    def ran_out(self, model: str, now_ms: int) -> list[Entry]:
        """Record that memory ran out against all plans: what is idle and less important goes.

        A load that ran out is over; it is planned again as long as somebody wants the model. While
        something else is under way nothing happens: ask again when that is done.
        """
        if self.moving() - {self.loading if self.loading == model else None}:
            return []
        if self.loading == model:
            self.loading = None
            del self.resident[model]
        claim, why = self.claims[model], "the library found no memory"
        victims = budget.sacrificed(self.resident.values(), claim, self.leases.values())
        said = self._entry(now_ms, Kind.OUT_OF_MEMORY, model, why)
        return [said, *self._unload(victims, now_ms, Kind.EVICT, f"{model} ran out of memory")]

    def loaded(self, model: str, now_ms: int, *, held_mib: int, took_ms: int) -> list[Entry]:
        """Record that the load under way is done, and what it was measured to take."""
        self.loading = None
        self.claims[model] = replace(self.claims[model], reload_ms=took_ms)
        self.measured(model, held_mib=held_mib, highest_mib=held_mib)
        self._touch(model, now_ms)
        return [self._entry(now_ms, Kind.LOADED, model, f"holds {held_mib} MiB in {took_ms} ms")]

    def load_failed(self, model: str, now_ms: int, code: str, why: str) -> list[Entry]:
        """Record that the load under way failed; everybody who waits for it is told."""
        self.loading = None
        self._wishes.failed(model, now_ms)
        del self.resident[model]
        failed = self._entry(now_ms, Kind.LOAD_FAILED, model, why, code)
        mine = (other for other in self.waiting if other.model == model)
        return [failed, *(self._refuse(request, now_ms, code, why) for request in mine)]

    def unloaded(self, model: str, now_ms: int, *, left_mib: int = 0) -> list[Entry]:
        """Record that an unloading is done and its memory is back, but for `left_mib`."""
        self.unloading -= {model}
        self.claims[model] = replace(self.claims[model], left_mib=left_mib)
        del self.resident[model]
        why = f"{left_mib} MiB are not back" if left_mib else ""
        return [self._entry(now_ms, Kind.UNLOADED, model, why)]

    def kept(self, model: str, now_ms: int, why: str) -> list[Entry]:
        """Record that an unloading was refused: the model is there as before."""
        self.unloading -= {model}
        return [self._entry(now_ms, Kind.KEPT, model, why)]

    def measured(self, model: str, *, held_mib: int, highest_mib: int) -> None:
        """Record what a model holds at rest and the most it took; the most is never forgotten."""
        known = self.claims[model]
        highest_mib = max(known.measured_mib, highest_mib, held_mib)
        self.claims[model] = replace(known, measured_mib=highest_mib)
        if model in self.resident:
            self.resident[model] = replace(
                self.resident[model], claim=self.claims[model], held_mib=held_mib
            )

    def moving(self) -> frozenset[str]:
        """Return the models that are being loaded or unloaded."""
        return self.unloading | ({self.loading} if self.loading else set())

    def _plan(self, model: str, now_ms: int, sight: Sight) -> Decision:
        return budget.plan(
            self.resident.values(),
            self.claims[model],
            Capacity.of(self.card, sight),
            sight.free_mib,
            self.leases.values(),
            now_ms,
        )

    def _tidy(self, now_ms: int, sight: Sight) -> list[Entry]:
        models, leases = self.resident.values(), self.leases.values()
        idle = budget.unused(models, leases, now_ms, self.card.idle_unload_s * 1000)
        if idle:
            why = f"not used for {self.card.idle_unload_s} s"
            return self._unload(idle, now_ms, Kind.IDLE, why)
        pressed = budget.relieve(models, Capacity.of(self.card, sight), sight.free_mib, leases)
        why = f"others hold {sight.other_mib} MiB, {sight.free_mib} MiB free"
        return self._unload(pressed, now_ms, Kind.PRESSURE, why)

    def _serve(self, now_ms: int, sight: Sight) -> list[Entry]:
        """Go along the line: who can have a model gets it; only the first of the rest may load.

        Nobody overtakes the first: what a later one took, an important one would wait for. Those it
        waits for are barred to newcomers, else a model that is always in use never comes back.
        """
        entries: list[Entry] = []
        self.waiting.barred = frozenset()
        blocked = bool(self.moving())
        for request in self.waiting:
            if self._usable(request):
                entries.append(self._grant(request, now_ms))
            elif not blocked:
                entries += self._advance(request, now_ms, sight)
                blocked = bool(self.moving()) or request in self.waiting.requests
        return entries

    def _fill(self, now_ms: int, sight: Sight, before: int = LEAST) -> list[Entry]:
        """Go on towards what should be there from the start and is more important than `before`."""
        entries: list[Entry] = []
        for name in () if self.moving() else self._wishes.ordered(self.claims.values()):
            absent = name not in self.resident and self.claims[name].priority < before
            if not absent or self._wishes.resting(name, now_ms):
                continue
            decision = self._plan(name, now_ms, sight)
            match decision:
                case Load():
                    return [*entries, self._load(name, now_ms, decision.why)]
                case Evict():
                    why = f"for {name}: {decision.why}"
                    return [*entries, *self._unload(decision.victims, now_ms, Kind.EVICT, why)]
                case Refuse() if self._wishes.refused(name, decision.code):
                    said = decision.why, decision.code
                    entries.append(self._entry(now_ms, Kind.REFUSE, name, *said))
        return entries

    def _advance(self, request: Request, now_ms: int, sight: Sight) -> list[Entry]:
        filled = self._fill(now_ms, sight, request.priority)
        return filled if self.moving() else filled + self._go(request, now_ms, sight)

    def _go(self, request: Request, now_ms: int, sight: Sight) -> list[Entry]:
        match self._plan(request.model, now_ms, sight):
            case Load() as load:
                return [self._load(request.model, now_ms, load.why, request)]
            case Evict() as evict:
                why = f"for {request.model}: {evict.why}"
                return self._unload(evict.victims, now_ms, Kind.EVICT, why, request)
            case Wait() as wait if self.waiting.tell(request, wait.models):
                return [self._entry(now_ms, Kind.WAIT, request.model, wait.why, request=request)]
            case Refuse() as refusal:
                return [self._refuse(request, now_ms, refusal.code, refusal.why)]
            case Wait() | Use():
                return []

    def _usable(self, request: Request) -> bool:
        name = request.model
        if name not in self.resident or name in {self.loading, *self.unloading}:
            return False
        if name not in self.waiting.barred:
            return True
        mine = (name, request.session)
        return any((lease.model, lease.session) == mine for lease in self.leases.values())

    def _grant(self, request: Request, now_ms: int) -> Entry:
        self.waiting.leave(request)
        limit_ms = self.models[request.model].lease_limit_ms
        until_ms = now_ms + (self.card.turn_limit_ms if request.turn else limit_ms)
        self.leases[request.ticket] = Lease(request.model, request.session, until_ms)
        self._touch(request.model, now_ms)
        why = f"after {now_ms - request.asked_ms} ms"
        return self._entry(now_ms, Kind.GRANT, request.model, why, request=request)

    def _refuse(self, request: Request, now_ms: int, code: str, why: str) -> Entry:
        self.waiting.leave(request)
        return self._entry(now_ms, Kind.REFUSE, request.model, why, code, request)

    def _load(self, model: str, now_ms: int, why: str, request: Request | None = None) -> Entry:
        self.loading = model
        self._wishes.granted(model)
        known = self.claims[model]
        self.resident[model] = Resident(known, known.charge_mib, now_ms)
        return self._entry(now_ms, Kind.LOAD, model, why, request=request)

    def _unload(
        self,
        models: Iterable[str],
        now_ms: int,
        kind: Kind,
        why: str,
        request: Request | None = None,
    ) -> list[Entry]:
        names = tuple(models)
        self.unloading |= set(names)
        return [self._entry(now_ms, kind, name, why, request=request) for name in names]

    def _touch(self, model: str, now_ms: int) -> None:
        here = self.resident[model]
        self.resident[model] = replace(here, claim=self.claims[model], last_used_ms=now_ms)

    def _entry(
        self,
        now_ms: int,
        kind: Kind,
        model: str,
        why: str = "",
        code: str = "",
        request: Request | None = None,
    ) -> Entry:
        return Entry(now_ms, kind, model, self.charged_mib, why, code, request)

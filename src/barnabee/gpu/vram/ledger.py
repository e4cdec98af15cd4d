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
from dataclasses import dataclass, replace

from barnabee.core.tables import Card, Model
from barnabee.gpu.vram import budget, queue
from barnabee.gpu.vram.journal import OVERLOADED, TIMED_OUT, Entry, Kind
from barnabee.gpu.vram.queue import Request
from barnabee.gpu.vram.terms import (
    Capacity,
    Claim,
    Decision,
    Evict,
    Lease,
    Load,
    Refuse,
    Resident,
    Use,
    Wait,
)

RETRY_MS = 5_000  # a load that nobody asked for is tried again this long after it failed
LEAST = 10  # less important than any model


@dataclass(frozen=True, slots=True)
class Sight:
    """What the card says: free (headroom included), and held by nobody in the ledger."""

    free_mib: int
    other_mib: int = 0


class Ledger:
    """The state. Not thread-safe: one driver, one step at a time."""

    def __init__(self, card: Card, models: Mapping[str, Model]) -> None:
        """Begin with an empty card."""
        self.card = card
        self.models = models
        self.claims = {name: Claim.of(name, model) for name, model in models.items()}
        self.resident: dict[str, Resident] = {}
        self.leases: dict[int, Lease] = {}  # by ticket
        self.waiting: tuple[Request, ...] = ()
        self.loading: str | None = None
        self.unloading: frozenset[str] = frozenset()
        self._barred: frozenset[str] = frozenset()
        self._told: dict[int, tuple[str, ...]] = {}  # by ticket: what it was said to wait for
        self._missing: dict[str, str] = {}  # what should be there: why it was said not to be
        self._retry_ms: dict[str, int] = {}
        self._dismissed: set[str] = set()  # unloaded by hand: not brought back before it is wanted

    @property
    def charged_mib(self) -> int:
        """Return what all models count for."""
        return budget.charged_mib(self.resident.values())

    def preloads(self) -> list[str]:
        """Return what should be there from the start: by importance, and the largest first."""
        here = (claim for claim in self.claims.values() if claim.name not in self._dismissed)
        claims = [claim for claim in here if claim.preload]
        claims.sort(key=lambda claim: (claim.priority, -claim.charge_mib, claim.name))
        return [claim.name for claim in claims]

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
        self.waiting, away = queue.admit(self.waiting, request, self.card.queue_depth)
        if away is None:
            return []
        return [self._refuse(away, now_ms, OVERLOADED, "the line is full")]

    def step(self, now_ms: int, sight: Sight) -> list[Entry]:
        """Return everything that happens now; call it after each change and at each deadline."""
        entries = [
            self._refuse(request, now_ms, TIMED_OUT, "waited too long")
            for request in queue.expired(self.waiting, now_ms)
        ]
        if not self._busy():
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
        return model not in self.resident and self._retry_ms.get(model, now_ms) > now_ms

    def dismiss(self, model: str, now_ms: int) -> list[Entry]:
        """Unload a model that nobody uses because somebody wants that; nothing while busy."""
        leased = any(lease.model == model for lease in self.leases.values())
        if leased or self._busy() or model not in self.resident:
            return []
        self._dismissed.add(model)
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
        self._retry_ms[model] = now_ms + RETRY_MS
        del self.resident[model]
        failed = self._entry(now_ms, Kind.LOAD_FAILED, model, why, code)
        mine = (other for other in queue.ordered(self.waiting) if other.model == model)
        return [failed, *(self._refuse(request, now_ms, code, why) for request in mine)]

    def unloaded(self, model: str, now_ms: int, *, left_mib: int = 0) -> list[Entry]:
        """Record that an unloading is done and its memory is back, but for `left_mib`."""
        self.unloading -= {model}
        self.claims[model] = replace(self.claims[model], left_mib=left_mib)
        del self.resident[model]
        return [self._entry(now_ms, Kind.UNLOADED, model)]

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

    def _busy(self) -> bool:
        return self.loading is not None or bool(self.unloading)

    def moving(self) -> frozenset[str]:
        """Return the models that are being loaded or unloaded."""
        return self.unloading | ({self.loading} if self.loading else set())

    def _capacity(self, sight: Sight) -> Capacity:
        return Capacity(self.card.vram_mib, self.card.headroom_mib, sight.other_mib)

    def _plan(self, model: str, now_ms: int, sight: Sight) -> Decision:
        return budget.plan(
            self.resident.values(),
            self.claims[model],
            self._capacity(sight),
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
        pressed = budget.relieve(models, self._capacity(sight), sight.free_mib, leases)
        why = f"others hold {sight.other_mib} MiB, {sight.free_mib} MiB free"
        return self._unload(pressed, now_ms, Kind.PRESSURE, why)

    def _serve(self, now_ms: int, sight: Sight) -> list[Entry]:
        """Go along the line: who can have a model gets it; only the first of the rest may load.

        Nobody overtakes the first: what a later one took, an important one would wait for. Those it
        waits for are barred to newcomers, else a model that is always in use never comes back.
        """
        entries: list[Entry] = []
        self._barred = frozenset()
        blocked = self._busy()
        for request in queue.ordered(self.waiting):
            if self._usable(request):
                entries.append(self._grant(request, now_ms))
            elif not blocked:
                entries += self._advance(request, now_ms, sight)
                blocked = self._busy() or request in self.waiting
        return entries

    def _fill(self, now_ms: int, sight: Sight, before: int = LEAST) -> list[Entry]:
        """Go on towards what should be there from the start and is more important than `before`."""
        entries: list[Entry] = []
        for name in () if self._busy() else self.preloads():
            absent = name not in self.resident and self.claims[name].priority < before
            if not absent or self._retry_ms.get(name, now_ms) > now_ms:
                continue
            decision = self._plan(name, now_ms, sight)
            match decision:
                case Load():
                    return [*entries, self._load(name, now_ms, decision.why)]
                case Evict():
                    why = f"for {name}: {decision.why}"
                    return [*entries, *self._unload(decision.victims, now_ms, Kind.EVICT, why)]
                case Refuse() if self._missing.get(name) != decision.code:
                    self._missing[name] = decision.code
                    said = decision.why, decision.code
                    entries.append(self._entry(now_ms, Kind.REFUSE, name, *said))
        return entries

    def _advance(self, request: Request, now_ms: int, sight: Sight) -> list[Entry]:
        filled = self._fill(now_ms, sight, request.priority)
        return filled if self._busy() else filled + self._go(request, now_ms, sight)

    def _go(self, request: Request, now_ms: int, sight: Sight) -> list[Entry]:
        match self._plan(request.model, now_ms, sight):
            case Load() as load:
                return [self._load(request.model, now_ms, load.why, request)]
            case Evict() as evict:
                why = f"for {request.model}: {evict.why}"
                return self._unload(evict.victims, now_ms, Kind.EVICT, why, request)
            case Wait() as wait:
                return self._wait(request, wait, now_ms)
            case Refuse() as refusal:
                return [self._refuse(request, now_ms, refusal.code, refusal.why)]
            case Use():
                return []

    def _usable(self, request: Request) -> bool:
        name = request.model
        if name not in self.resident or name in {self.loading, *self.unloading}:
            return False
        if name not in self._barred:
            return True
        mine = (name, request.session)
        return any((lease.model, lease.session) == mine for lease in self.leases.values())

    def _grant(self, request: Request, now_ms: int) -> Entry:
        self._leave(request)
        limit_ms = self.models[request.model].lease_limit_ms
        until_ms = now_ms + (self.card.turn_limit_ms if request.turn else limit_ms)
        self.leases[request.ticket] = Lease(request.model, request.session, until_ms)
        self._touch(request.model, now_ms)
        why = f"after {now_ms - request.asked_ms} ms"
        return self._entry(now_ms, Kind.GRANT, request.model, why, request=request)

    def _wait(self, request: Request, wait: Wait, now_ms: int) -> list[Entry]:
        self._barred = frozenset(wait.models)
        if self._told.get(request.ticket) == wait.models:
            return []
        self._told[request.ticket] = wait.models
        return [self._entry(now_ms, Kind.WAIT, request.model, wait.why, request=request)]

    def _refuse(self, request: Request, now_ms: int, code: str, why: str) -> Entry:
        self._leave(request)
        return self._entry(now_ms, Kind.REFUSE, request.model, why, code, request)

    def _leave(self, request: Request) -> None:
        self._told.pop(request.ticket, None)
        self.waiting = tuple(other for other in self.waiting if other != request)

    def _load(self, model: str, now_ms: int, why: str, request: Request | None = None) -> Entry:
        self.loading = model
        self._missing.pop(model, None)
        self._dismissed.discard(model)
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

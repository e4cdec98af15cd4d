"""Types of the VRAM ledger: reservations, decisions, requests, events and refusal errors.

Values without policy, which is in `budget`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from barnabee.core.errors import (
    BarnabeeError,
    DependencyDown,
    QueueFull,
    TimedOut,
    VramNotEvictable,
    VramNotReleased,
    VramTooLarge,
    VramUsedByOthers,
)
from barnabee.core.schema import GpuConfig, ModelConfig


class RefusalCode(StrEnum):
    """Why a model cannot be loaded, however long the request waits."""

    TOO_LARGE = "vram_too_large"  # larger than the GPU
    NOT_EVICTABLE = "vram_kept"  # the resident models are at least as important
    TAKEN = "vram_taken"  # held by other programs, or not freed by unloaded models
    STUCK = "vram_stuck"  # a lease is overdue and may never be released


@dataclass(frozen=True, slots=True)
class Reservation:
    """Memory that a model needs.

    `measured_mib` is its highest measured peak; `left_mib` was not freed by its last unload and is
    reused by its next load. Both are 0 before the first measurement.
    """

    name: str
    priority: int  # 1 is the most important
    declared_mib: int
    measured_mib: int = 0
    left_mib: int = 0
    reload_ms: int = 0
    preload: bool = False

    @classmethod
    def from_config(cls, name: str, model: ModelConfig) -> Reservation:
        """Return the reservation of a `[model]` table before any measurement."""
        peak_mib, reload_ms = model.vram_peak_mib, model.reload_cost_ms
        return cls(name, model.priority, peak_mib, reload_ms=reload_ms, preload=model.preload)

    @property
    def charge_mib(self) -> int:
        """The larger of the declared and the measured peak."""
        return max(self.declared_mib, self.measured_mib)

    @property
    def need_mib(self) -> int:
        """Memory that must be free before a load."""
        return max(0, self.charge_mib - self.left_mib)


@dataclass(frozen=True, slots=True)
class ResidentModel:
    """A loaded model; `held_mib` is its memory at rest, which an unload frees."""

    reservation: Reservation
    held_mib: int
    last_used_ms: int

    @property
    def name(self) -> str:
        return self.reservation.name


@dataclass(frozen=True, slots=True)
class VramLease:
    """Use of a model by a session until `until_ms`; an overdue lease still prevents eviction."""

    model: str
    session: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class MeasuredMemory:
    """Measured memory: free (including headroom), and held outside the ledger."""

    free_mib: int
    other_mib: int = 0


@dataclass(frozen=True, slots=True)
class GpuCapacity:
    """Memory of the GPU; `other_mib` is held by other programs or was not freed by unloads."""

    vram_mib: int
    headroom_mib: int
    other_mib: int = 0

    @classmethod
    def from_config(cls, gpu: GpuConfig, memory: MeasuredMemory) -> GpuCapacity:
        """Return the capacity of a `[gpu]` table at the measured use."""
        return cls(gpu.vram_mib, gpu.headroom_mib, memory.other_mib)

    @property
    def largest_mib(self) -> int:
        """Limit for a single model on an otherwise empty GPU."""
        return self.vram_mib - self.headroom_mib

    @property
    def usable_mib(self) -> int:
        """Limit for all models together now."""
        return self.largest_mib - self.other_mib


@dataclass(frozen=True, slots=True)
class AlreadyLoaded:
    """The model is loaded and can be leased."""

    why: str = "already loaded"


@dataclass(frozen=True, slots=True)
class Load:
    """The model fits into the free memory."""

    need_mib: int
    free_mib: int

    @property
    def why(self) -> str:
        return _describe_memory(self)


@dataclass(frozen=True, slots=True)
class Evict:
    """Unload `victims`; once their memory is free, the next plan is `Load`."""

    victims: tuple[str, ...]
    need_mib: int
    free_mib: int

    @property
    def why(self) -> str:
        return f"less important and idle; {_describe_memory(self)}"


@dataclass(frozen=True, slots=True)
class Wait:
    """The model fits once `models` are released, which is due at `until_ms`."""

    models: tuple[str, ...]
    until_ms: int
    need_mib: int
    free_mib: int

    @property
    def why(self) -> str:
        names = ", ".join(self.models)
        return f"{names} in use; {_describe_memory(self)}"


@dataclass(frozen=True, slots=True)
class Refuse:
    """No pending release will make room."""

    code: RefusalCode
    need_mib: int
    free_mib: int

    @property
    def why(self) -> str:
        return f"{_REFUSAL_TEXTS[self.code]}; {_describe_memory(self)}"


def _describe_memory(decision: Load | Evict | Wait | Refuse) -> str:
    return f"{decision.need_mib} MiB needed, {max(0, decision.free_mib)} MiB free"


_REFUSAL_TEXTS = {
    RefusalCode.TOO_LARGE: "larger than the GPU",
    RefusalCode.NOT_EVICTABLE: "the loaded models are at least as important",
    RefusalCode.TAKEN: "memory is held outside the budget",
    RefusalCode.STUCK: "a model in use was not released in time",
}

Decision = AlreadyLoaded | Load | Evict | Wait | Refuse

QUEUE_FULL = "queue_full"  # the codes of core.errors
TIMED_OUT = "timed_out"


class EventKind(StrEnum):
    """Kind of a ledger event."""

    LOAD = "load"
    LOADED = "loaded"
    LOAD_FAILED = "load_failed"
    EVICT = "evict"  # for a more important model
    IDLE = "idle"  # unused for `idle_unload_s`
    PRESSURE = "pressure"  # other programs took memory
    MANUAL = "by_hand"  # requested by a user
    OUT_OF_MEMORY = "out_of_memory"
    UNLOADED = "unloaded"
    UNLOAD_REFUSED = "kept"  # the engine refused to unload
    WAIT = "wait"
    GRANT = "grant"
    RELEASE = "release"
    REFUSE = "refuse"


UNLOAD_KINDS = frozenset({EventKind.EVICT, EventKind.IDLE, EventKind.PRESSURE, EventKind.MANUAL})


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """Request for a lease; with `turn` the lease lasts for the whole turn."""

    ticket: int
    model: str
    priority: int  # of its model; 1 is the most important
    session: str
    asked_ms: int
    deadline_ms: int
    turn: bool = False


@dataclass(frozen=True, slots=True)
class LedgerEvent:
    """One event of the ledger; `charged_mib` is the memory charged for all models after it."""

    t_ms: int
    kind: EventKind
    model: str
    charged_mib: int
    why: str = ""
    code: str = ""
    request: ModelRequest | None = None


RETRY_AFTER_S = 2
_ERRORS = {
    one.code: one
    for one in (VramTooLarge, VramNotEvictable, VramUsedByOthers, VramNotReleased, QueueFull)
}


def make_refusal_error(code: str, model: str, why: str, limit_ms: int) -> BarnabeeError:
    """Return the error of a refusal; all but `VramTooLarge` are worth a retry."""
    if code == TimedOut.code:
        return TimedOut(
            what=f"waiting for the model {model}", limit_ms=limit_ms, retry_after_s=RETRY_AFTER_S
        )
    known = _ERRORS.get(code)
    if known is None:
        return DependencyDown(dependency=model, reason=why, retry_after_s=RETRY_AFTER_S)
    retry_after_s = None if known is VramTooLarge else RETRY_AFTER_S
    return known(model=model, why=why, retry_after_s=retry_after_s)

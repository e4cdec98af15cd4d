"""What the ledger says has happened, and what has to be done: one entry each, with its reason."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from barnabee.gpu.vram.queue import Request

OVERLOADED = "queue_full"  # the words of core.errors for a full line and for a lost wait
TIMED_OUT = "timed_out"


class Kind(StrEnum):
    """What happened."""

    LOAD = "load"
    LOADED = "loaded"
    LOAD_FAILED = "load_failed"
    EVICT = "evict"  # for a more important model
    IDLE = "idle"  # not used for long
    PRESSURE = "pressure"  # others took memory
    BY_HAND = "by_hand"  # somebody wanted it gone
    OUT_OF_MEMORY = "out_of_memory"
    UNLOADED = "unloaded"
    KEPT = "kept"  # it could not be unloaded
    WAIT = "wait"
    GRANT = "grant"
    RELEASE = "release"
    REFUSE = "refuse"


UNLOADING = frozenset({Kind.EVICT, Kind.IDLE, Kind.PRESSURE, Kind.BY_HAND})


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal; `charged_mib` is what all models count for after it."""

    t_ms: int
    kind: Kind
    model: str
    charged_mib: int
    why: str = ""
    code: str = ""
    request: Request | None = None

"""The ledger of the card as the page gets it; the gpu service says it so."""

from __future__ import annotations

from barnabee.api.schemas.status import Shape


class Card(Shape):
    """The card (or main memory, where there is none), in MiB."""

    name: str
    total_mib: int
    headroom_mib: int
    charged_mib: int
    held_mib: int
    base_mib: int
    other_mib: int
    free_mib: int
    measured_mib: int | None


class Lease(Shape):
    """Somebody who uses a model."""

    session: str | None
    left_ms: float


class ModelShape(Shape):
    """A model in the ledger."""

    name: str
    id: str
    task: str
    state: str
    priority: int
    preload: bool
    declared_mib: int
    measured_mib: int
    charged_mib: int
    held_mib: int
    left_mib: int
    reload_ms: int
    unused_ms: float | None
    leases: list[Lease]
    code: str | None


class Waiting(Shape):
    """Somebody who waits for a model."""

    model: str
    session: str | None
    waited_ms: float


class Decision(Shape):
    """What the ledger decided and why."""

    at: float
    decision: str
    model: str
    reason: str
    code: str | None
    charged_mib: int
    session: str | None


class Ledger(Shape):
    """The memory of the card and who has it; the newest decision last."""

    card: Card
    models: list[ModelShape]
    turns: dict[str, str | None]
    waiting: list[Waiting]
    decisions: list[Decision]


class Moved(Shape):
    """What became of a model that was loaded or unloaded by hand."""

    name: str
    state: str

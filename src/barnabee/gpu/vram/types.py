"""The words of the ledger: what is asked of the card, what is on it, and what can be decided.

Values only, no policy; `budget` has that.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from barnabee.core.schema import Card, Model


class Code(StrEnum):
    """Why a model cannot be there, however long one waits."""

    TOO_LARGE = "vram_too_large"  # the card is too small for it
    KEPT = "vram_kept"  # what is there is at least as important
    TAKEN = "vram_taken"  # other programs, or leftovers of unloaded models, hold the memory
    STUCK = "vram_stuck"  # somebody has kept a model beyond the limit and may never return it


@dataclass(frozen=True, slots=True)
class Claim:
    """What a model asks of the card.

    `measured_mib` is the most it ever took; `left_mib` is what its last unloading did not give
    back, which it takes up again when it is loaded. Both are 0 before there is a measurement.
    """

    name: str
    priority: int  # 1 is the most important
    declared_mib: int
    measured_mib: int = 0
    left_mib: int = 0
    reload_ms: int = 0
    preload: bool = False

    @classmethod
    def of(cls, name: str, model: Model) -> Claim:
        """Return what a model of `system.toml` asks for before anything was measured."""
        peak_mib, reload_ms = model.vram_peak_mib, model.reload_cost_ms
        return cls(name, model.priority, peak_mib, reload_ms=reload_ms, preload=model.preload)

    @property
    def charge_mib(self) -> int:
        """Return what it counts for."""
        return max(self.declared_mib, self.measured_mib)

    @property
    def need_mib(self) -> int:
        """Return what has to be free for it."""
        return max(0, self.charge_mib - self.left_mib)


@dataclass(frozen=True, slots=True)
class Resident:
    """A model on the card; `held_mib` is what it holds at rest, which its unloading gives back."""

    claim: Claim
    held_mib: int
    last_used_ms: int

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self.claim.name


@dataclass(frozen=True, slots=True)
class Lease:
    """Somebody's word that a model is in use, good until `until_ms`; overdue, it still protects."""

    model: str
    session: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class Sight:
    """What the card says: free (headroom included), and held by nobody in the ledger."""

    free_mib: int
    other_mib: int = 0


@dataclass(frozen=True, slots=True)
class Capacity:
    """The card; `other_mib` is held by nobody here: other programs, leftovers of unloading."""

    vram_mib: int
    headroom_mib: int
    other_mib: int = 0

    @classmethod
    def of(cls, card: Card, sight: Sight) -> Capacity:
        """Return what a card offers now."""
        return cls(card.vram_mib, card.headroom_mib, sight.other_mib)

    @property
    def largest_mib(self) -> int:
        """Return what a model could have if it were alone in the world."""
        return self.vram_mib - self.headroom_mib

    @property
    def usable_mib(self) -> int:
        """Return what all models together may have now."""
        return self.largest_mib - self.other_mib


@dataclass(frozen=True, slots=True)
class Use:
    """It is there: take a lease."""

    why: str = "it is there"


@dataclass(frozen=True, slots=True)
class Load:
    """There is room: load it."""

    need_mib: int
    free_mib: int

    @property
    def why(self) -> str:
        """Return the reason as a sentence."""
        return _missing(self)


@dataclass(frozen=True, slots=True)
class Evict:
    """Unload these, wait until the memory is back, and ask again: the answer will be Load."""

    victims: tuple[str, ...]
    need_mib: int
    free_mib: int

    @property
    def why(self) -> str:
        """Return the reason as a sentence."""
        return f"less important and idle; {_missing(self)}"


@dataclass(frozen=True, slots=True)
class Wait:
    """There will be room when these are returned, which is due at `until_ms`."""

    models: tuple[str, ...]
    until_ms: int
    need_mib: int
    free_mib: int

    @property
    def why(self) -> str:
        """Return the reason as a sentence."""
        names = ", ".join(self.models)
        return f"{names} in use; {_missing(self)}"


@dataclass(frozen=True, slots=True)
class Refuse:
    """Nothing that is happening will make room."""

    code: Code
    need_mib: int
    free_mib: int

    @property
    def why(self) -> str:
        """Return the reason as a sentence."""
        return f"{_SAID[self.code]}; {_missing(self)}"


def _missing(decision: Load | Evict | Wait | Refuse) -> str:
    return f"{decision.need_mib} MiB needed, {max(0, decision.free_mib)} MiB to give"


_SAID = {
    Code.TOO_LARGE: "larger than the card",
    Code.KEPT: "what is there is at least as important",
    Code.TAKEN: "held outside the ledger",
    Code.STUCK: "a model in use is not returned",
}

Decision = Use | Load | Evict | Wait | Refuse

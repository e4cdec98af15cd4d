"""What should be on the card although nobody asks for it, and what keeps it away.

State without a clock; the ledger asks it, and tells it what became of a wish.
"""

from __future__ import annotations

from collections.abc import Iterable

from barnabee.gpu.vram.types import Claim

RETRY_MS = 5_000  # a load that failed is tried again after this long


class Wishes:
    """What is to be preloaded, less what was unloaded by hand, and when to try again."""

    def __init__(self) -> None:
        """Begin with everything wished for and nothing tried."""
        self._dismissed: set[str] = set()  # by hand: not brought back before somebody wants it
        self._retry_ms: dict[str, int] = {}
        self._refusals: dict[str, str] = {}  # the last code each was refused with

    def ordered(self, claims: Iterable[Claim]) -> list[str]:
        """Return the names of what should be there: by importance, and the largest first."""
        wished = [claim for claim in claims if claim.preload and claim.name not in self._dismissed]
        wished.sort(key=lambda claim: (claim.priority, -claim.charge_mib, claim.name))
        return [claim.name for claim in wished]

    def dismissed(self, model: str) -> None:
        """Record that somebody wanted it gone."""
        self._dismissed.add(model)

    def failed(self, model: str, now_ms: int) -> None:
        """Record that its load failed."""
        self._retry_ms[model] = now_ms + RETRY_MS

    def resting(self, model: str, now_ms: int) -> bool:
        """Return whether its load failed so shortly ago that trying again is in vain."""
        return self._retry_ms.get(model, now_ms) > now_ms

    def refused(self, model: str, code: str) -> bool:
        """Record that there is no room for it; return whether that is news."""
        news = self._refusals.get(model) != code
        self._refusals[model] = code
        return news

    def granted(self, model: str) -> None:
        """Record that it is being loaded."""
        self._refusals.pop(model, None)
        self._dismissed.discard(model)

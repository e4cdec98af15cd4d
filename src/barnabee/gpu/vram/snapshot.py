"""What the card says, and to whom it is booked: the manager's eyes.

Reads the probe in a thread, because a sick driver must not stop the loop; decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import TYPE_CHECKING

from barnabee.core.errors import BarnabeeError, DependencyDown
from barnabee.gpu.vram.accounting import settle
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.types import Sight

if TYPE_CHECKING:
    from barnabee.gpu.vram.probe import Probe, Reading

PROBE_LIMIT_S = 2.0


class View:
    """The last reading, what this process holds without any model, and who was used since."""

    def __init__(self, ledger: Ledger, probe: Probe) -> None:
        """Take what is booked to, and what is read."""
        self.reading: Reading | None = None
        self.base_mib = 0
        self.trouble: BarnabeeError | None = None
        self.used: set[str] = set()
        self._ledger, self._probe = ledger, probe

    @property
    def ours_mib(self) -> int:
        """Return what this process holds; 0 before the first reading."""
        return self.reading.ours_mib if self.reading else 0

    @property
    def fresh(self) -> Reading | None:
        """Return the last reading, or None when the card does not answer."""
        return None if self.trouble else self.reading

    async def look(self) -> None:
        """Read the probe; what went wrong stays in `trouble` until a reading succeeds."""
        try:
            async with asyncio.timeout(PROBE_LIMIT_S):
                self.reading = await asyncio.to_thread(self._probe.read)
            self.trouble = None
        except TimeoutError:
            self.trouble = DependencyDown(dependency="the card", reason="no reading in time")
        except BarnabeeError as error:
            self.trouble = error

    async def first_look(self) -> None:
        """Read the probe while no model is there."""
        await self.look()
        self.base_mib = self.ours_mib

    def sight(self) -> Sight:
        """Return what the last reading means to the ledger."""
        reading, card = self.reading, self._ledger.card
        if reading is None:
            return Sight(free_mib=0, other_mib=card.vram_mib)
        absent = max(0, card.vram_mib - reading.total_mib)  # a smaller card than was declared
        foreign = max(0, reading.total_mib - reading.free_mib - reading.ours_mib)
        other = absent + foreign + self.base_mib + self._left_mib()
        free = min(reading.free_mib, card.vram_mib - foreign - reading.ours_mib)
        return Sight(max(0, free), other)

    def book(self, users: Iterable[str], *, computing: bool) -> None:
        """Book what has grown or shrunk since everything was last at rest.

        While one model alone computes, what is there beyond all that is held is its peak.
        """
        held = {name: model.held_mib for name, model in self._ledger.resident.items()}
        if self.reading is None or self._ledger.moving():
            return
        grown = self.ours_mib - self.base_mib - self._left_mib() - sum(held.values())
        using = set(users) & held.keys()
        if computing:
            if len(using) == 1 and grown > 0:
                (name,) = using
                self._ledger.measured(name, held_mib=held[name], highest_mib=held[name] + grown)
        elif (self.used | using) & held.keys():
            for name, mib in settle(held, self.used | using, grown).items():
                self._ledger.measured(name, held_mib=mib, highest_mib=mib)
            self.used.clear()
        else:
            self.base_mib = max(0, self.base_mib + grown)

    def _left_mib(self) -> int:
        here = self._ledger.resident
        return sum(one.left_mib for name, one in self._ledger.claims.items() if name not in here)

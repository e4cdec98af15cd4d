"""Carries a model onto the card or off it, and measures what that has moved. Decides nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from barnabee.gpu.model_runtime import Slot
from barnabee.gpu.vram.snapshot import View

BACK_LIMIT_S = 5.0  # how long a driver may take to give memory back
BACK_PERCENT = 90
LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True)
class Came:
    """A model that was loaded: how long it took, and what it holds."""

    took_s: float
    held_mib: int


async def bring(slot: Slot[Any], view: View, left_mib: int) -> Came:
    """Load a model and let it do one inference; raises what its engine raises.

    `left_mib` is what it left behind when it was unloaded last: that, it has taken up again.
    """
    before_mib = view.ours_mib
    took_s = await slot.load()
    await view.look()
    return Came(took_s, max(0, view.ours_mib - before_mib + left_mib))


async def take_away(slot: Slot[Any], view: View, held_mib: int, clock: Callable[[], float]) -> int:
    """Unload a model that holds `held_mib`; return what of it is not back when time is over.

    Raises what an engine raises that refuses to close.
    """
    await view.look()
    before_mib = view.ours_mib
    await slot.unload()
    deadline_s = clock() + BACK_LIMIT_S
    while True:
        await view.look()
        back_mib = before_mib - view.ours_mib
        if back_mib * 100 >= held_mib * BACK_PERCENT or clock() >= deadline_s:
            return max(0, held_mib - back_mib)
        await asyncio.sleep(LOOK_EVERY_S)

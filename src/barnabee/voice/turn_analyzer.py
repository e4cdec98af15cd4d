"""Is the person done? smart-turn listens to how the last seconds sound, not to what they say.

One model serves all rooms: it is asked once a pause, and takes 45 to 60 ms on a CPU.
"""

from __future__ import annotations

import asyncio

from pipecat.audio.turn.base_turn_analyzer import EndOfTurnState
from pipecat.audio.turn.smart_turn.local_smart_turn_v3 import LocalSmartTurnAnalyzerV3

RATE_HZ = 16_000
LONGEST_BYTES = 8 * RATE_HZ * 2  # what the model looks at
WARM_UP = 2


class Ends:
    """Tells the end of a turn from a pause."""

    def __init__(self) -> None:
        """Load the model; blocks for a moment."""
        self._analyzer = LocalSmartTurnAnalyzerV3(sample_rate=RATE_HZ)
        self._analyzer.set_sample_rate(RATE_HZ)
        self._lock = asyncio.Lock()

    async def warm_up(self) -> None:
        """Judge silence until its memory has its size: 39 MiB come with the first two times."""
        for _ in range(WARM_UP):
            await self.done(bytes(LONGEST_BYTES))

    async def done(self, pcm: bytes) -> bool:
        """Return whether this utterance (int16 mono 16 kHz) sounds as if it were all."""
        async with self._lock:
            self._analyzer.clear()
            self._analyzer.append_audio(pcm[-LONGEST_BYTES:], is_speech=True)
            state, _ = await self._analyzer.analyze_end_of_turn()
            return state is EndOfTurnState.COMPLETE

    async def aclose(self) -> None:
        """Release its thread."""
        await self._analyzer.cleanup()

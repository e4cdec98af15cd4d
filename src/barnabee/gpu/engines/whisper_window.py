"""faster-whisper with an encoder that is given a part of its window."""

from __future__ import annotations

from typing import Any

import numpy as np
from faster_whisper import WhisperModel
from numpy.typing import NDArray


class WindowedModel(WhisperModel):  # type: ignore[misc] # faster-whisper has no types
    """A Whisper model whose encoder sees the first `frames` (of 10 ms) of each window."""

    frames = 3000

    def encode(self, features: NDArray[np.float32]) -> Any:
        """Encode (mel bands, frames) or (batch, mel bands, frames)."""
        return super().encode(np.ascontiguousarray(features[..., : self.frames]))

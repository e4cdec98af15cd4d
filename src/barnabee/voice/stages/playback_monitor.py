"""Playback monitor: reports behind the transport what is played."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import soxr
from pipecat.frames.frames import Frame, OutputAudioRawFrame
from pipecat.processors.frame_processor import FrameDirection, FrameProcessor

if TYPE_CHECKING:
    from barnabee.voice.echo import EchoDetector
    from barnabee.voice.stages.tts import TtsStage

INPUT_RATE_HZ = 16_000


class PlaybackMonitor(FrameProcessor):
    """Follows the played audio behind the transport, for the queue and for echo detection."""

    def __init__(self, tts_stage: TtsStage, echo: EchoDetector, rate_hz: int) -> None:
        super().__init__(name=f"monitor-{tts_stage.name}")
        self._tts_stage, self._echo = tts_stage, echo
        self._resample = soxr.ResampleStream(rate_hz, INPUT_RATE_HZ, 1, dtype="float32")

    async def process_frame(self, frame: Frame, direction: FrameDirection) -> None:
        await super().process_frame(frame, direction)
        if isinstance(frame, OutputAudioRawFrame):
            samples = np.frombuffer(frame.audio, "<i2").astype(np.float32) / np.float32(32768)
            self._echo.add_playback(self._resample.resample_chunk(samples))
            self._tts_stage.on_chunk_played()
        else:
            await self.push_frame(frame, direction)

"""Test audio: tones, and files in formats other than WAV."""

from __future__ import annotations

import io
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

# container and codec of each format
FORMATS = {
    "mp3": ("mp3", "libmp3lame"),
    "m4a": ("mp4", "aac"),
    "aac": ("adts", "aac"),
    "flac": ("flac", "flac"),
    "ogg": ("ogg", "libopus"),
    "webm": ("webm", "libopus"),
}


def encode_audio(
    form: str, samples: NDArray[np.int16], rate_hz: int, *, channels: int = 1, **options: str
) -> bytes:
    """Return mono int16 `samples` as a file, the same audio on all channels."""
    container_name, codec = FORMATS[form]
    file = io.BytesIO()
    layout = {1: "mono", 2: "stereo"}[channels]
    with av.open(file, "w", format=container_name, options=options) as container:
        stream: Any = container.add_stream(codec, rate=rate_hz, layout=layout)
        for start in range(0, len(samples), rate_hz):
            piece = np.repeat(samples[start : start + rate_hz], channels).reshape(1, -1)
            frame = av.AudioFrame.from_ndarray(piece, format="s16", layout=layout)
            frame.sample_rate, frame.pts = rate_hz, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return file.getvalue()


def make_tone(seconds: float, rate_hz: int, pitch_hz: float = 440) -> NDArray[np.int16]:
    """Return a tone at a third of full scale."""
    angle = 2 * np.pi * pitch_hz * np.arange(int(seconds * rate_hz)) / rate_hz
    return (np.sin(angle) * 11_000).astype(np.int16)

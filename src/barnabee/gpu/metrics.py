"""The series of this service beside those every service has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import Counter, Gauge, Histogram

from barnabee.core.metrics import Metrics
from barnabee.gpu.vram.metrics import VramMetrics
from barnabee.gpu.wake_session import OTHER_ROOM

if TYPE_CHECKING:
    from barnabee.core.schema import Wake
    from barnabee.gpu.model_lease import Use

_LABELS = ("task", "engine")
_INFERENCE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_QUEUE_S = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_BATCH = (1, 2, 4, 8, 16, 32)
# a frame lasts 80 ms: beyond that a microphone falls behind
_FRAME_S = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5)
_FACTOR = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


class GpuMetrics(Metrics):
    """Shared series and those of inference."""

    def __post_init__(self) -> None:
        """Create the series."""
        super().__post_init__()
        made: dict[str, Any] = {
            "inference": Histogram(
                "barnabee_inference_seconds",
                "Time an engine computed for one request, without waiting.",
                _LABELS,
                buckets=_INFERENCE_S,
                registry=self.registry,
            ),
            "queue": Histogram(
                "barnabee_inference_queue_seconds",
                "Time a request waited for its engine.",
                _LABELS,
                buckets=_QUEUE_S,
                registry=self.registry,
            ),
            "batch": Histogram(
                "barnabee_inference_batch_texts",
                "Texts that one call of an embedder took together.",
                _LABELS,
                buckets=_BATCH,
                registry=self.registry,
            ),
            "real_time_factor": Histogram(
                "barnabee_inference_real_time_factor",
                "Seconds computed for one second of audio.",
                _LABELS,
                buckets=_FACTOR,
                registry=self.registry,
            ),
            "audio": Counter(
                "barnabee_inference_audio_seconds",
                "Audio heard or spoken.",
                _LABELS,
                registry=self.registry,
            ),
            "load_seconds": Gauge(
                "barnabee_engine_load_seconds",
                "Time the last loading of an engine took, with its first inference.",
                _LABELS,
                registry=self.registry,
            ),
            "vram": VramMetrics(self.registry),
        }
        self.__dict__.update(made)
        self._make_wake()

    def _make_wake(self) -> None:
        registry = self.registry
        labels = ("word", "room")
        made: dict[str, Any] = {
            "wakes": Counter("barnabee_wake", "Wake words heard.", labels, registry=registry),
            "false_wakes": Counter(
                "barnabee_false_wake", "Wakes after which nobody spoke.", labels, registry=registry
            ),
            "wake_streams": Gauge(
                "barnabee_wake_streams", "Microphones that are listened to.", registry=registry
            ),
            "wake_frame": Histogram(
                "barnabee_wake_frame_seconds",
                "Time from a frame's turn to its scores, waiting for the engine included.",
                buckets=_FRAME_S,
                registry=registry,
            ),
        }
        self.__dict__.update(made)

    wakes: Counter
    false_wakes: Counter
    wake_streams: Gauge
    wake_frame: Histogram
    vram: VramMetrics
    inference: Histogram
    queue: Histogram
    batch: Histogram
    real_time_factor: Histogram
    audio: Counter
    load_seconds: Gauge

    def record(self, task: str, engine: str, use: Use[Any]) -> None:
        """Record one use of an engine."""
        self.inference.labels(task, engine).observe(use.inference_s)
        self.queue.labels(task, engine).observe(use.queue_s)
        if use.audio_s:
            self.audio.labels(task, engine).inc(use.audio_s)
            self.real_time_factor.labels(task, engine).observe(use.inference_s / use.audio_s)

    def show_words(self, wake: Wake) -> None:
        """Show a zero for every word and room of system.toml: a rate needs a first value."""
        for room in (*wake.room, OTHER_ROOM):
            for word in wake.words:
                self.wakes.labels(word, room)
                self.false_wakes.labels(word, room)

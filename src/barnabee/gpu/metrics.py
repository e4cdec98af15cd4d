"""Prometheus metrics of the inference service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import Counter, Gauge, Histogram

from barnabee.core.metrics import Metrics
from barnabee.gpu.vram.metrics import VramMetrics
from barnabee.gpu.wake_session import OTHER_ROOM

if TYPE_CHECKING:
    from barnabee.core.schema import WakeConfig
    from barnabee.gpu.model_lease import ModelLease

_LABELS = ("task", "engine")
_INFERENCE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_QUEUE_S = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
_BATCH = (1, 2, 4, 8, 16, 32)
# a frame lasts 80 ms: above that the stream falls behind
_FRAME_S = (0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16, 0.5)
_FACTOR = (0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 4.0)


class GpuMetrics(Metrics):
    """Metrics of inference, wake words and VRAM, beside those of every service."""

    def __post_init__(self) -> None:
        super().__post_init__()
        series: dict[str, Any] = {
            "inference": Histogram(
                "barnabee_inference_seconds",
                "Time an engine computed for one request, queueing excluded.",
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
                "Texts in one call of the embedder.",
                _LABELS,
                buckets=_BATCH,
                registry=self.registry,
            ),
            "real_time_factor": Histogram(
                "barnabee_inference_real_time_factor",
                "Computing time per second of audio.",
                _LABELS,
                buckets=_FACTOR,
                registry=self.registry,
            ),
            "audio": Counter(
                "barnabee_inference_audio_seconds",
                "Audio transcribed or synthesized, in seconds.",
                _LABELS,
                registry=self.registry,
            ),
            "load_seconds": Gauge(
                "barnabee_engine_load_seconds",
                "Time the last load of an engine took, first inference included.",
                _LABELS,
                registry=self.registry,
            ),
            "vram": VramMetrics(self.registry),
        }
        self.__dict__.update(series)
        self._make_wake()

    def _make_wake(self) -> None:
        registry = self.registry
        labels = ("word", "room")
        series: dict[str, Any] = {
            "wakes": Counter("barnabee_wake", "Wake words detected.", labels, registry=registry),
            "false_wakes": Counter(
                "barnabee_false_wake",
                "Wake words after which no speech followed.",
                labels,
                registry=registry,
            ),
            "wake_streams": Gauge(
                "barnabee_wake_streams", "Open wake word streams.", registry=registry
            ),
            "wake_frame": Histogram(
                "barnabee_wake_frame_seconds",
                "Time to score one frame, queueing for the engine included.",
                buckets=_FRAME_S,
                registry=registry,
            ),
        }
        self.__dict__.update(series)

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

    def record_usage(self, task: str, engine: str, lease: ModelLease[Any]) -> None:
        self.inference.labels(task, engine).observe(lease.inference_s)
        self.queue.labels(task, engine).observe(lease.queue_s)
        if lease.audio_s:
            self.audio.labels(task, engine).inc(lease.audio_s)
            self.real_time_factor.labels(task, engine).observe(lease.inference_s / lease.audio_s)

    def create_wake_series(self, wake: WakeConfig) -> None:
        """Create the counters of every word and room in system.toml: a rate needs a first value."""
        for room in (*wake.room, OTHER_ROOM):
            for word in wake.words:
                self.wakes.labels(word, room)
                self.false_wakes.labels(word, room)

"""Prometheus metrics of the inference service and of GPU memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from barnabee.core.metrics import Metrics
from barnabee.gpu.vram.types import LedgerEvent
from barnabee.gpu.wake_session import OTHER_ROOM

if TYPE_CHECKING:
    from barnabee.core.schema import WakeConfig
    from barnabee.gpu.model_lease import ModelLease
    from barnabee.gpu.vram.ledger import Ledger
    from barnabee.gpu.vram.probe import GpuSensors, MemoryReading

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


_MODEL_SERIES = {
    "declared": "Declared peak memory of a model.",
    "measured": "Highest measured peak memory of a model.",
    "held": "Memory of a model at rest; 0 when it is not loaded.",
    "left": "Memory that a model's last unload did not free.",
}
_GPU_SERIES = {
    "memory_used_bytes": "GPU memory in use by all programs.",
    "memory_total_bytes": "Total GPU memory.",
    "duty_cycle": "GPU utilisation in percent.",
    "temperature_celsius": "GPU temperature.",
    "power_usage_milliwatts": "GPU power draw.",
}
_MIB = 1024 * 1024
_WAIT_BUCKETS_S = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


class VramMetrics:
    """Metrics of one GPU's memory: the ledger's state and decisions, and the GPU's sensors.

    The nvidia_gpu_ names are those of the specification and of NVIDIA exporters; without a GPU they
    are about main memory, and the label says so.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._bytes = {
            kind: Gauge(f"barnabee_model_{kind}_bytes", text, ("model",), registry=registry)
            for kind, text in _MODEL_SERIES.items()
        }
        self._leases = Gauge(
            "barnabee_model_leases", "Current leases.", ("model",), registry=registry
        )
        self._decisions = Counter(
            "barnabee_vram_decisions",
            "Decisions of the ledger: loads, evictions by reason, refusals by code.",
            ("model", "decision", "code"),
            registry=registry,
        )
        self._waits = Histogram(
            "barnabee_vram_wait_seconds",
            "Time from the request for a model to its lease.",
            ("model",),
            buckets=_WAIT_BUCKETS_S,
            registry=registry,
        )
        self._memory = Gauge(
            "barnabee_vram_bytes",
            "GPU memory (main memory without a GPU) by holder.",
            ("held_by",),
            registry=registry,
        )
        self._gpu = {
            name: Gauge(f"nvidia_gpu_{name}", text, ("name",), registry=registry)
            for name, text in _GPU_SERIES.items()
        }
        self._throttled = Gauge(
            "nvidia_gpu_throttled",
            "1 while the GPU is throttled for this reason.",
            ("name", "reason"),
            registry=registry,
        )

    def count_decision(self, event: LedgerEvent) -> None:
        self._decisions.labels(event.model, event.kind.value, event.code).inc()

    def record_wait(self, model: str, seconds: float) -> None:
        self._waits.labels(model).observe(seconds)

    def update(self, ledger: Ledger, reading: MemoryReading | None) -> None:
        """Set all gauges; without a reading the GPU's series are removed instead of stale."""
        leased = [lease.model for lease in ledger.leases.values()]
        for name, claim in ledger.reservations.items():
            resident = ledger.resident.get(name)
            self._bytes["declared"].labels(name).set(claim.declared_mib * _MIB)
            self._bytes["measured"].labels(name).set(claim.measured_mib * _MIB)
            self._bytes["held"].labels(name).set(resident.held_mib * _MIB if resident else 0)
            self._bytes["left"].labels(name).set(claim.left_mib * _MIB)
            self._leases.labels(name).set(leased.count(name))
        if reading is None:
            for gauge in (self._memory, self._throttled, *self._gpu.values()):
                gauge.clear()
            return
        self._update_memory(ledger.gpu.name, reading)
        if reading.sensors:
            self._update_sensors(ledger.gpu.name, reading.sensors)

    def _update_memory(self, gpu: str, reading: MemoryReading) -> None:
        used_mib = reading.total_mib - reading.free_mib
        self._memory.labels("free").set(reading.free_mib * _MIB)
        self._memory.labels("us").set(reading.process_mib * _MIB)
        self._memory.labels("others").set(max(0, used_mib - reading.process_mib) * _MIB)
        self._gpu["memory_used_bytes"].labels(gpu).set(used_mib * _MIB)
        self._gpu["memory_total_bytes"].labels(gpu).set(reading.total_mib * _MIB)

    def _update_sensors(self, gpu: str, sensors: GpuSensors) -> None:
        values = {
            "duty_cycle": sensors.utilisation_percent,
            "temperature_celsius": sensors.temperature_c,
            "power_usage_milliwatts": sensors.power_mw,
        }
        for name, value in values.items():
            if value is None:  # not supported by this GPU
                self._gpu[name].clear()
            else:
                self._gpu[name].labels(gpu).set(value)
        for reason, on in (sensors.throttle_reasons or {}).items():
            self._throttled.labels(gpu, reason).set(on)

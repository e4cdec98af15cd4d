"""The series of this service beside those every service has."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from prometheus_client import Counter, Gauge, Histogram

from barnabee.core.metrics import Metrics
from barnabee.gpu.vram.journal import Entry
from barnabee.gpu.wake import OTHER_ROOM

if TYPE_CHECKING:
    from barnabee.core.tables import Wake
    from barnabee.gpu.use import Use
    from barnabee.gpu.vram.ledger import Ledger
    from barnabee.gpu.vram.probe import Reading

_BYTES = {
    "declared": "Peak of a model as declared.",
    "measured": "The most a model was measured to take.",
    "held": "What a model holds at rest; 0 when it is not loaded.",
    "left": "What a model did not give back when it was unloaded last.",
}
_MIB = 1024 * 1024
_LABELS = ("task", "engine")
_INFERENCE_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
_QUEUE_S = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0)
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
        }
        self.__dict__.update(made)
        self._make_ledger()
        self._make_wake()

    def _make_ledger(self) -> None:
        registry = self.registry
        gauges = {
            kind: Gauge(f"barnabee_model_{kind}_bytes", said, ("model",), registry=registry)
            for kind, said in _BYTES.items()
        }
        made: dict[str, Any] = {
            "bytes": gauges,
            "leases": Gauge(
                "barnabee_model_leases", "Uses at this moment.", ("model",), registry=registry
            ),
            "decisions": Counter(
                "barnabee_vram_decisions",
                "What the ledger decided: loads, evictions with their reason, refusals with code.",
                ("model", "decision", "code"),
                registry=registry,
            ),
            "waits": Histogram(
                "barnabee_vram_wait_seconds",
                "Time from asking for a model to having it.",
                ("model",),
                buckets=_QUEUE_S,
                registry=registry,
            ),
            "memory": Gauge(
                "barnabee_vram_bytes",
                "The card's memory (main memory without one) by what holds it.",
                ("held_by",),
                registry=registry,
            ),
        }
        self.__dict__.update(made)

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
    bytes: dict[str, Gauge]
    leases: Gauge
    decisions: Counter
    waits: Histogram
    memory: Gauge
    inference: Histogram
    queue: Histogram
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

    def count(self, entry: Entry) -> None:
        """Count a decision of the ledger."""
        self.decisions.labels(entry.model, entry.kind.value, entry.code).inc()

    def waited(self, model: str, seconds: float) -> None:
        """Record how long somebody waited for a model."""
        self.waits.labels(model).observe(seconds)

    def show_ledger(self, ledger: Ledger, reading: Reading | None) -> None:
        """Show what the ledger and the card say now."""
        users = [lease.model for lease in ledger.leases.values()]
        for name, claim in ledger.claims.items():
            here = ledger.resident.get(name)
            self.bytes["declared"].labels(name).set(claim.declared_mib * _MIB)
            self.bytes["measured"].labels(name).set(claim.measured_mib * _MIB)
            self.bytes["held"].labels(name).set(here.held_mib * _MIB if here else 0)
            self.bytes["left"].labels(name).set(claim.left_mib * _MIB)
            self.leases.labels(name).set(users.count(name))
        if reading:
            foreign = reading.total_mib - reading.free_mib - reading.ours_mib
            self.memory.labels("free").set(reading.free_mib * _MIB)
            self.memory.labels("us").set(reading.ours_mib * _MIB)
            self.memory.labels("others").set(max(0, foreign) * _MIB)

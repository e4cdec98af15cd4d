"""The series of the card: what the ledger holds and decides, and what the card itself says.

The names that begin with nvidia_gpu_ are those of the specification and of the exporters for
NVIDIA cards; where there is no card they tell of main memory, and the label says so.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from barnabee.gpu.vram.events import Entry

if TYPE_CHECKING:
    from barnabee.gpu.vram.ledger import Ledger
    from barnabee.gpu.vram.probe import Reading, Sensors

_BYTES = {
    "declared": "Peak of a model as declared.",
    "measured": "The most a model was measured to take.",
    "held": "What a model holds at rest; 0 when it is not loaded.",
    "left": "What a model did not give back when it was unloaded last.",
}
_CARD = {
    "memory_used_bytes": "Memory in use on the card, whoever uses it.",
    "memory_total_bytes": "Memory of the card.",
    "duty_cycle": "Share of the last moments in which the card computed, in percent.",
    "temperature_celsius": "Temperature of the card.",
    "power_usage_milliwatts": "Power the card draws.",
}
_MIB = 1024 * 1024
_WAIT_S = (0.001, 0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0)


class VramMetrics:
    """The series of one card."""

    def __init__(self, registry: CollectorRegistry) -> None:
        """Create the series."""
        self._bytes = {
            kind: Gauge(f"barnabee_model_{kind}_bytes", said, ("model",), registry=registry)
            for kind, said in _BYTES.items()
        }
        self._leases = Gauge(
            "barnabee_model_leases", "Uses at this moment.", ("model",), registry=registry
        )
        self._decisions = Counter(
            "barnabee_vram_decisions",
            "What the ledger decided: loads, evictions with their reason, refusals with code.",
            ("model", "decision", "code"),
            registry=registry,
        )
        self._waits = Histogram(
            "barnabee_vram_wait_seconds",
            "Time from asking for a model to having it.",
            ("model",),
            buckets=_WAIT_S,
            registry=registry,
        )
        self._memory = Gauge(
            "barnabee_vram_bytes",
            "The card's memory (main memory without one) by what holds it.",
            ("held_by",),
            registry=registry,
        )
        self._card = {
            name: Gauge(f"nvidia_gpu_{name}", said, ("name",), registry=registry)
            for name, said in _CARD.items()
        }
        self._slowed = Gauge(
            "nvidia_gpu_throttled",
            "1 when the card runs slower than it could, for this reason.",
            ("name", "reason"),
            registry=registry,
        )

    def count(self, entry: Entry) -> None:
        """Count a decision of the ledger."""
        self._decisions.labels(entry.model, entry.kind.value, entry.code).inc()

    def waited(self, model: str, seconds: float) -> None:
        """Record how long somebody waited for a model."""
        self._waits.labels(model).observe(seconds)

    def show(self, ledger: Ledger, reading: Reading | None) -> None:
        """Show what the ledger holds now and what the card says.

        Without a reading there are no series of the card: an old figure would look like a new one.
        """
        users = [lease.model for lease in ledger.leases.values()]
        for name, claim in ledger.claims.items():
            here = ledger.resident.get(name)
            self._bytes["declared"].labels(name).set(claim.declared_mib * _MIB)
            self._bytes["measured"].labels(name).set(claim.measured_mib * _MIB)
            self._bytes["held"].labels(name).set(here.held_mib * _MIB if here else 0)
            self._bytes["left"].labels(name).set(claim.left_mib * _MIB)
            self._leases.labels(name).set(users.count(name))
        if reading is None:
            for gauge in (self._memory, self._slowed, *self._card.values()):
                gauge.clear()
            return
        self._show_memory(ledger.card.name, reading)
        if reading.sensors:
            self._show_sensors(ledger.card.name, reading.sensors)

    def _show_memory(self, card: str, reading: Reading) -> None:
        used_mib = reading.total_mib - reading.free_mib
        self._memory.labels("free").set(reading.free_mib * _MIB)
        self._memory.labels("us").set(reading.ours_mib * _MIB)
        self._memory.labels("others").set(max(0, used_mib - reading.ours_mib) * _MIB)
        self._card["memory_used_bytes"].labels(card).set(used_mib * _MIB)
        self._card["memory_total_bytes"].labels(card).set(reading.total_mib * _MIB)

    def _show_sensors(self, card: str, sensors: Sensors) -> None:
        figures = {
            "duty_cycle": sensors.utilisation_percent,
            "temperature_celsius": sensors.temperature_c,
            "power_usage_milliwatts": sensors.power_mw,
        }
        for name, value in figures.items():
            if value is None:  # not every card can tell everything
                self._card[name].clear()
            else:
                self._card[name].labels(card).set(value)
        for reason, on in (sensors.slowed or {}).items():
            self._slowed.labels(card, reason).set(on)

"""The series of the card."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.metrics import VramMetrics
from barnabee.gpu.vram.probe import Reading, Sensors
from support.vram import card, model

MIB = 1024 * 1024
SENSORS = Sensors(37, 64, 182_500, {"power_cap": True, "hardware": False})


def lines(*readings: Reading | None) -> dict[str, float]:
    """Return the series after these readings, by name and labels."""
    registry = CollectorRegistry()
    metrics = VramMetrics(registry)
    for reading in readings:
        metrics.show(Ledger(card(1000), {"a": model(1, 400)}), reading)
    text = generate_latest(registry).decode()
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in rows}


def test_memory_of_the_card_has_the_names_of_the_specification() -> None:
    shown = lines(Reading(1000, 300, 500))
    assert shown['nvidia_gpu_memory_used_bytes{name="test card"}'] == 700 * MIB
    assert shown['nvidia_gpu_memory_total_bytes{name="test card"}'] == 1000 * MIB
    assert shown['barnabee_vram_bytes{held_by="others"}'] == 200 * MIB
    assert shown['barnabee_model_declared_bytes{model="a"}'] == 400 * MIB


def test_the_sensors_are_shown() -> None:
    shown = lines(Reading(1000, 300, 500, SENSORS))
    assert shown['nvidia_gpu_duty_cycle{name="test card"}'] == 37
    assert shown['nvidia_gpu_temperature_celsius{name="test card"}'] == 64
    assert shown['nvidia_gpu_power_usage_milliwatts{name="test card"}'] == 182_500
    assert shown['nvidia_gpu_throttled{name="test card",reason="power_cap"}'] == 1
    assert shown['nvidia_gpu_throttled{name="test card",reason="hardware"}'] == 0


def test_a_sensor_that_no_longer_tells_has_no_series() -> None:
    shown = lines(
        Reading(1000, 300, 500, SENSORS), Reading(1000, 300, 500, Sensors(temperature_c=70))
    )
    assert shown['nvidia_gpu_temperature_celsius{name="test card"}'] == 70
    assert not [name for name in shown if "duty_cycle" in name or "power_usage" in name]


def test_a_card_that_does_not_answer_has_no_series() -> None:
    shown = lines(Reading(1000, 300, 500, SENSORS), None)
    assert not [name for name in shown if name.startswith(("nvidia_gpu", "barnabee_vram_bytes"))]
    assert shown['barnabee_model_declared_bytes{model="a"}'] == 400 * MIB

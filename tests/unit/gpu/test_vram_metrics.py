"""Prometheus metrics of GPU memory."""

from __future__ import annotations

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import generate_latest

from barnabee.gpu.metrics import VramMetrics
from barnabee.gpu.vram.ledger import Ledger
from barnabee.gpu.vram.probe import GpuSensors, MemoryReading
from support.vram import make_gpu, make_model

MIB = 1024 * 1024
SENSORS = GpuSensors(37, 64, 182_500, {"power_cap": True, "hardware": False})


def export(*readings: MemoryReading | None) -> dict[str, float]:
    """Return the exported samples after these readings."""
    registry = CollectorRegistry()
    metrics = VramMetrics(registry)
    for reading in readings:
        metrics.update(Ledger(make_gpu(1000), {"a": make_model(1, 400)}), reading)
    text = generate_latest(registry).decode()
    rows = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in rows}


def test_memory_metrics_have_the_names_of_the_specification() -> None:
    samples = export(MemoryReading(1000, 300, 500))
    assert samples['nvidia_gpu_memory_used_bytes{name="test GPU"}'] == 700 * MIB
    assert samples['nvidia_gpu_memory_total_bytes{name="test GPU"}'] == 1000 * MIB
    assert samples['barnabee_vram_bytes{held_by="others"}'] == 200 * MIB
    assert samples['barnabee_model_declared_bytes{model="a"}'] == 400 * MIB


def test_sensors_are_exported() -> None:
    samples = export(MemoryReading(1000, 300, 500, SENSORS))
    assert samples['nvidia_gpu_duty_cycle{name="test GPU"}'] == 37
    assert samples['nvidia_gpu_temperature_celsius{name="test GPU"}'] == 64
    assert samples['nvidia_gpu_power_usage_milliwatts{name="test GPU"}'] == 182_500
    assert samples['nvidia_gpu_throttled{name="test GPU",reason="power_cap"}'] == 1
    assert samples['nvidia_gpu_throttled{name="test GPU",reason="hardware"}'] == 0


def test_unsupported_sensor_has_no_series() -> None:
    samples = export(
        MemoryReading(1000, 300, 500, SENSORS),
        MemoryReading(1000, 300, 500, GpuSensors(temperature_c=70)),
    )
    assert samples['nvidia_gpu_temperature_celsius{name="test GPU"}'] == 70
    assert not [name for name in samples if "duty_cycle" in name or "power_usage" in name]


def test_gpu_without_reading_has_no_series() -> None:
    samples = export(MemoryReading(1000, 300, 500, SENSORS), None)
    assert not [name for name in samples if name.startswith(("nvidia_gpu", "barnabee_vram_bytes"))]
    assert samples['barnabee_model_declared_bytes{model="a"}'] == 400 * MIB

"""Voice probe: intervals, back-off and health."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import pytest

from barnabee.clients.probe import SESSION, ProbeResult
from barnabee.core.health import Degraded, Unknown
from barnabee.core.metrics import Metrics
from barnabee.core.schema import ProbeConfig
from barnabee.workers import voice_probe
from barnabee.workers.metrics import ProbeMetrics
from barnabee.workers.voice_probe import GpuActivity, VoiceProber
from support.clock import FakeClock

CONFIG = ProbeConfig(every_s=300, every_without_gpu_s=3600, limit_ms=1000)
GOOD = {"stages_ms": {"stt": 500.0, "total": 900.0}, "over_budget": ["stt"]}
BAD = {"stage": "speak", "code": "speech_silent", "message": "its level is -90 dBFS"}


@dataclass
class FakeVoicePath:
    """Voice path with a settable result and clock."""

    result: ProbeResult = field(default_factory=lambda: ProbeResult(**GOOD))
    activity: GpuActivity = field(default_factory=GpuActivity)
    clock: FakeClock = field(default_factory=FakeClock)
    probes: int = 0
    broken: bool = False
    metrics: Metrics = field(default_factory=lambda: Metrics("worker"))

    async def run_probe(self) -> ProbeResult:
        self.probes += 1
        if self.broken:
            raise ZeroDivisionError
        return self.result

    async def read_activity(self) -> GpuActivity:
        return self.activity

    def make_prober(self) -> VoiceProber:
        series = ProbeMetrics.register(self.metrics)
        return VoiceProber(CONFIG, self.run_probe, self.read_activity, series, clock=self.clock)

    def read_metric(self, name: str, **labels: str) -> float | None:
        return self.metrics.registry.get_sample_value(f"barnabee_probe_{name}", labels)


async def test_before_the_first_probe_the_health_is_unknown() -> None:
    path = FakeVoicePath()
    prober = path.make_prober()

    assert isinstance(await prober.check(), Unknown)
    assert (path.read_metric("success"), path.read_metric("timestamp_seconds")) == (0, 0)


async def test_a_good_probe_is_healthy_and_exported() -> None:
    path = FakeVoicePath()
    prober = path.make_prober()

    assert await prober.step() == 300
    assert await prober.check() is None
    assert (path.read_metric("success"), path.read_metric("timestamp_seconds")) == (1, 1000)
    assert path.read_metric("seconds", stage="stt") == 0.5
    assert path.read_metric("over_budget", stage="stt") == 1
    assert path.read_metric("over_budget", stage="total") == 0


async def test_a_failed_probe_degrades_with_code_and_stage_and_repeats_soon() -> None:
    path = FakeVoicePath()
    prober = path.make_prober()
    await prober.step()
    path.result = ProbeResult(**BAD)

    pauses = [await prober.step() for _ in range(12)]

    assert pauses[:4] == [2, 4, 8, 16]
    assert pauses[-1] == 300
    found = await prober.check()
    assert isinstance(found, Degraded)
    assert found.code == "speech_silent"
    assert "speak" in found.message
    assert path.read_metric("success") == 0
    assert path.read_metric("failures_total", stage="speak", code="speech_silent") == 12
    assert path.read_metric("seconds", stage="stt") is None  # not the earlier probe's
    path.result = ProbeResult(**GOOD)
    assert await prober.step() == 300
    assert await prober.check() is None


@pytest.mark.parametrize(("has_gpu", "interval_s"), [(True, 300), (False, 3600)])
async def test_an_old_probe_degrades(has_gpu: bool, interval_s: int) -> None:
    path = FakeVoicePath(activity=GpuActivity(has_gpu=has_gpu))
    prober = path.make_prober()
    assert await prober.step() == interval_s

    path.clock.now_s += 3 * interval_s
    assert await prober.check() is None
    path.clock.now_s += 1
    found = await prober.check()
    assert isinstance(found, Degraded)
    assert found.code == "probe_stale"


async def test_a_probe_waits_for_an_idle_voice_path_at_most_one_interval() -> None:
    path = FakeVoicePath(activity=GpuActivity(is_busy=True))
    prober = path.make_prober()

    assert await prober.step() == voice_probe.BUSY_RETRY_S
    assert path.probes == 0
    path.clock.now_s += 299
    assert await prober.step() == voice_probe.BUSY_RETRY_S
    path.clock.now_s += 1
    assert await prober.step() == 300
    assert path.probes == 1
    assert await prober.step() == voice_probe.BUSY_RETRY_S  # and then it waits again


async def test_a_bug_in_the_probe_counts_as_a_failure() -> None:
    path = FakeVoicePath(broken=True)
    prober = path.make_prober()
    task = asyncio.create_task(prober.run_for_ever())
    while path.probes == 0:
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)

    found = await prober.check()
    assert isinstance(found, Degraded)
    assert found.code == "internal"


@pytest.mark.parametrize(
    ("vram", "has_gpu", "is_busy"),
    [
        ({}, True, False),
        ({"card": {"name": "RTX"}, "models": [{"leases": []}], "turns": {}}, True, False),
        ({"card": {"name": "main memory"}, "models": [], "turns": {}}, False, False),
        ({"card": {"name": "RTX"}, "turns": {"t1": "kitchen"}}, True, True),
        ({"card": {"name": "RTX"}, "turns": {"t1": SESSION}}, True, False),
        ({"models": [{"leases": [{"session": "kitchen"}]}]}, True, True),
        ({"models": [{"leases": [{"session": SESSION}]}]}, True, False),
    ],
)
def test_the_activity_is_read_from_the_inference_service(
    vram: dict[str, object], has_gpu: bool, is_busy: bool
) -> None:
    assert GpuActivity.from_vram(vram) == GpuActivity(has_gpu, is_busy)

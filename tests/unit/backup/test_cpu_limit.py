from __future__ import annotations

import pytest

from barnabee.backup.cpu_limit import CpuLimit


def test_cpu_use_stays_within_the_limit() -> None:
    now, used, slept = [0.0], [0.0], [0.0]

    def sleep(seconds: float) -> None:
        now[0] += seconds
        slept[0] += seconds

    limit = CpuLimit(25, clock=lambda: now[0], used=lambda: used[0], sleep=sleep)
    for _ in range(400):
        now[0] += 0.05
        used[0] += 0.05
        limit.throttle()

    assert used[0] / now[0] == pytest.approx(0.25, abs=0.01)
    assert limit.used_s == pytest.approx(20)
    assert CpuLimit(100, clock=lambda: 0.0, used=lambda: 50.0).sleep_due_s() == 0

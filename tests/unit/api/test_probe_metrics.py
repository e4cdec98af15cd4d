from __future__ import annotations

from barnabee.api.status_watcher import parse_probe_metrics
from barnabee.clients.probe import ProbeResult
from barnabee.core.metrics import Metrics
from barnabee.workers.metrics import ProbeMetrics


def test_the_last_probe_is_read_out_of_the_worker_s_own_metrics() -> None:
    metrics = Metrics("worker")
    series = ProbeMetrics.register(metrics)
    assert parse_probe_metrics(metrics.render().decode()) is None
    series.record(ProbeResult(stages_ms={"stt": 640.5, "total": 2500.0}, over_budget=["stt"]), 1234.5)
    found = parse_probe_metrics(metrics.render().decode())
    assert found is not None
    assert (found.at_s, found.success, found.over_budget) == (1234.5, True, ["stt"])
    assert found.stages_ms == {"stt": 640.5, "total": 2500.0}
    series.record(ProbeResult(stage="hear", code="misheard"), 2000.0)
    found = parse_probe_metrics(metrics.render().decode())
    assert found is not None
    assert (found.success, found.stages_ms) == (False, {})

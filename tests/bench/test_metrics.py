"""Cost of a metrics request of each service with many series."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Any

import httpx
import pytest
from prometheus_client.metrics import MetricWrapperBase
from starlette.applications import Starlette

from barnabee.core.health import HealthMonitor
from barnabee.core.http import make_standard_routes
from barnabee.core.metrics import Metrics
from support.alert_rules import load_metrics_reference
from support.asgi_server import serve_app
from support.benchmark import choose_size, is_at_most

LIMIT_MS, CPU_LIMIT, EVERY_S = 10, 0.02, 15
# A freshly started api has 67 samples; this makes ten times as many.
VALUES = 4
REQUESTS, OTHERS = 24, 6  # children of the request series, and of every other
ROUNDS = choose_size(60, 2)
ATTEMPTS = 3


def add_children(metrics: Metrics) -> int:
    """Give every family as many children as it could have; return their number."""
    count = 0
    for collector in list(metrics.registry._collector_to_names):
        if not isinstance(collector, MetricWrapperBase) or not collector._labelnames:
            continue
        names = [f"some_value_{number}" for number in range(VALUES)]
        labels = itertools.product(names, repeat=len(collector._labelnames))
        most = REQUESTS if collector._name == "barnabee_request_duration_seconds" else OTHERS
        for values in itertools.islice(labels, most):
            child: Any = collector.labels(*values)
            (getattr(child, "observe", None) or child.inc)(0.1)
            count += 1
    return count


@pytest.mark.parametrize("service", load_metrics_reference().SERVICES)
async def test_a_metrics_request_costs_little(service: str) -> None:
    kind, fill = load_metrics_reference().SERVICES[service]
    metrics = kind(service)
    health = HealthMonitor(service, fill(metrics), metrics)
    children = add_children(metrics)
    async with (
        serve_app(Starlette(routes=make_standard_routes(health, metrics))) as url,
        httpx.AsyncClient(base_url=url) as http,
    ):
        for attempt in range(ATTEMPTS):
            took_ms, begun_s = [], time.process_time()
            for _ in range(ROUNDS):
                before = time.perf_counter()
                answer = await http.get("/metrics")
                took_ms.append((time.perf_counter() - before) * 1000)
            # CPU time, because other programs use the machine; it includes the client's share.
            cost_ms = (time.process_time() - begun_s) / ROUNDS * 1000
            cpu = cost_ms / 1000 / EVERY_S
            print(
                f"{service}: {children} children, {len(answer.content) / 1024:.0f} KiB, "
                f"{cost_ms:.1f} ms of a core, client included, {cpu:.2%} of it at every 15 s; "
                f"median {statistics.median(took_ms):.1f} ms by the clock (attempt {attempt + 1})"
            )
            if is_at_most(cost_ms, LIMIT_MS) and is_at_most(cpu, CPU_LIMIT):
                return
    assert is_at_most(cost_ms, LIMIT_MS)
    assert is_at_most(cpu, CPU_LIMIT)

"""Cost of choosing a server for a call."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median

import pytest

from barnabee.clients.servers import ServerPool, _RequestAttempts
from support.benchmark import choose_size, is_at_most

LIMIT_US = {1: 20.0, 2: 40.0, 8: 80.0}
CALLS, ROUNDS = choose_size((5_000, 7), (50, 1))


def measure_call_us(work: Callable[[], None]) -> float:
    """Return the median CPU time of several rounds."""
    took = []
    for _ in range(ROUNDS):
        begun = time.process_time()
        for _ in range(CALLS):
            work()
        took.append((time.process_time() - begun) / CALLS * 1e6)
    return median(took)


@pytest.mark.parametrize("count", LIMIT_US)
def test_choosing_a_server_costs_little(count: int) -> None:
    servers = ServerPool([f"http://s{n}:1" for n in range(count)], "token", timeout_s=10)

    def call() -> None:
        attempts = _RequestAttempts("/v1/embeddings")
        server = servers._choose_next(attempts, None)
        with servers._track_request(server, attempts):
            pass

    took_us = measure_call_us(call)
    print(f"\n{count} servers: {took_us:.1f} us per call (limit {LIMIT_US[count]:.0f} us)")
    assert is_at_most(took_us, LIMIT_US[count])

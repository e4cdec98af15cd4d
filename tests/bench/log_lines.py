"""Writes log lines to standard output as our services do, and tells figures on standard error.

log_lines.py cost ours|stdlib LINES      microseconds a line: the best of ten rounds, and the median
log_lines.py hold LINES_A_SECOND SECONDS  the longest time for which the event loop stood still
"""

from __future__ import annotations

import asyncio
import json
import logging
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

import structlog

from barnabee.core import logging as barnabee_logging
from barnabee.core import trace_context

FIELDS = {
    "method": "POST", "route": "/v1/command", "status": 200, "latency_ms": 12.34,
    "session_id": "kitchen", "user_id": "somebody", "stage": "command",
}  # fmt: skip
ROUNDS = 10


class Formatter(logging.Formatter):
    """What people write around the standard library for the same line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        told = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": datetime.now(UTC).isoformat(),
            "component": "bench",
            "trace_id": trace_context.get_trace_id(),
            **record.__dict__["told"],
        }
        return json.dumps(told, ensure_ascii=False)


def ours() -> Callable[[], None]:
    barnabee_logging.configure_logging("bench")
    log = structlog.get_logger()
    return lambda: log.info("request", **FIELDS)


def stdlib() -> Callable[[], None]:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Formatter())
    log = logging.getLogger("bench")
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    return lambda: log.info("request", extra={"told": FIELDS})


def cost(write: Callable[[], None], lines: int) -> dict[str, float]:
    """Return microseconds a line."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(lines):
            write()
        rounds.append((time.perf_counter() - begun) / lines * 1e6)
    return {"best_us": min(rounds), "median_us": statistics.median(rounds)}


async def hold(write: Callable[[], None], rate: int, seconds: float) -> dict[str, float]:
    """Return how long the loop stood still at most while `rate` lines a second were written."""
    longest_s, written = 0.0, 0
    sys.stderr.write("begun\n")
    sys.stderr.flush()
    begun = before = time.perf_counter()
    while (passed_s := time.perf_counter() - begun) < seconds:
        while written < passed_s * rate:
            write()
            written += 1
            if written % 20 == 0:
                break
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest_s, before = max(longest_s, now - before), now
    dropped = barnabee_logging.count_dropped_lines()
    return {"longest_ms": longest_s * 1000, "written": written, "dropped": dropped}


def main() -> None:
    trace_context.adopt_trace_id(None)
    kind, *rest = sys.argv[1:]
    if kind == "cost":
        found = cost({"ours": ours, "stdlib": stdlib}[rest[0]](), int(rest[1]))
    else:
        found = asyncio.run(hold(ours(), int(rest[0]), float(rest[1])))
    sys.stderr.write(json.dumps(found))


if __name__ == "__main__":
    main()

"""Process that writes log lines to standard output like our services; prints figures on stderr.

log_lines.py cost ours|stdlib LINES        microseconds per line: best and median of ten rounds
log_lines.py hold LINES_PER_SECOND SECONDS longest time for which the event loop was blocked
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
from barnabee.core import tracing

FIELDS = {
    "method": "POST", "route": "/v1/command", "status": 200, "latency_ms": 12.34,
    "session_id": "kitchen", "user_id": "emma", "stage": "command",
}  # fmt: skip
ROUNDS = 10


class Formatter(logging.Formatter):
    """A usual formatter of the standard library for the same JSON line."""

    def format(self, record: logging.LogRecord) -> str:
        fields = {
            "event": record.getMessage(),
            "level": record.levelname.lower(),
            "timestamp": datetime.now(UTC).isoformat(),
            "component": "bench",
            "trace_id": tracing.get_trace_id(),
            **record.__dict__["fields"],
        }
        return json.dumps(fields, ensure_ascii=False)


def make_our_logger() -> Callable[[], None]:
    barnabee_logging.configure_logging("bench")
    log = structlog.get_logger()
    return lambda: log.info("request", **FIELDS)


def make_stdlib_logger() -> Callable[[], None]:
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Formatter())
    log = logging.getLogger("bench")
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)
    return lambda: log.info("request", extra={"fields": FIELDS})


def measure_cost(write: Callable[[], None], lines: int) -> dict[str, float]:
    """Return the microseconds per line."""
    rounds = []
    for _ in range(ROUNDS):
        begun = time.perf_counter()
        for _ in range(lines):
            write()
        rounds.append((time.perf_counter() - begun) / lines * 1e6)
    return {"best_us": min(rounds), "median_us": statistics.median(rounds)}


async def measure_blocking(
    write: Callable[[], None], rate: int, seconds: float
) -> dict[str, float]:
    """Return the longest time for which the loop was blocked at `rate` lines per second."""
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
    tracing.adopt_trace_id(None)
    kind, *rest = sys.argv[1:]
    if kind == "cost":
        found = measure_cost(
            {"ours": make_our_logger, "stdlib": make_stdlib_logger}[rest[0]](), int(rest[1])
        )
    else:
        found = asyncio.run(measure_blocking(make_our_logger(), int(rest[0]), float(rest[1])))
    sys.stderr.write(json.dumps(found))


if __name__ == "__main__":
    main()

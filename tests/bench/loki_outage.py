"""Process that sends log lines to a Loki that is down at first; prints figures as JSON.

usage: loki_outage.py URL LINES_PER_SECOND SECONDS BUFFER_MIB
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
import time
from datetime import UTC, datetime, timedelta

import psutil

from barnabee.clients.loki_push import LogShipper

MIB = 1024 * 1024
EPOCH = datetime(2026, 11, 23, tzinfo=UTC)
LINE = {
    "component": "api", "level": "info", "event": "request", "method": "POST",
    "route": "/v1/command", "status": 200, "session_id": "kitchen", "stage": "command",
}  # fmt: skip


async def main() -> None:
    url, rate, seconds, buffer_mib = sys.argv[1], *map(int, sys.argv[2:])
    shipper = LogShipper(url, "bench", buffer_mib * MIB, print)
    process = psutil.Process()
    before_mib = process.memory_info().rss / MIB
    shipper.start()
    begun = before = time.perf_counter()
    offered, peak_mib, longest_s = 0, 0.0, 0.0
    while (passed_s := time.perf_counter() - begun) < seconds:
        while offered < passed_s * rate:
            stamp = (EPOCH + timedelta(milliseconds=offered)).isoformat()
            unique = {
                "trace_id": secrets.token_hex(16),
                "latency_ms": offered / 7,
            }
            shipper.offer(LINE | unique | {"timestamp": stamp})
            offered += 1
        peak_mib = max(peak_mib, process.memory_info().rss / MIB)
        now = time.perf_counter()
        longest_s, before = max(longest_s, now - before), now
        await asyncio.sleep(0.01)
    until = time.perf_counter() + 30
    while shipper.counts.sent + shipper.counts.dropped < offered and time.perf_counter() < until:
        await asyncio.sleep(0.1)
    shipper.stop()
    found = {
        "offered": offered,
        "sent": shipper.counts.sent,
        "dropped": shipper.counts.dropped,
        "more_mib": peak_mib - before_mib,
        "longest_ms": longest_s * 1000,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    asyncio.run(main())

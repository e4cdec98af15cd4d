"""Log shipping: batches, buffering during outages, and counting of dropped lines."""

from __future__ import annotations

import gzip
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from barnabee.clients.loki_push import LogShipper, compress_records
from support.wait import wait_until

TRACE = "0af7651916cd43dd8448eb211c80319c"


def record(number: int, **fields: Any) -> dict[str, Any]:
    return {
        "component": "api",
        "level": "info",
        "event": f"e{number}",
        "timestamp": "2026-11-23T08:00:00.000001Z",
        **fields,
    }


class FakeLoki:
    """Loki that stores pushed lines while it is up."""

    def __init__(self) -> None:
        self.status = 204
        self.is_down = False
        self.lines: list[str] = []
        self.reported: list[tuple[str, dict[str, object]]] = []
        self.was_called = threading.Event()

    def respond(self, request: httpx.Request) -> httpx.Response:
        self.was_called.set()
        if self.is_down:
            raise httpx.ConnectError("no route", request=request)
        if self.status == 204:
            body = json.loads(gzip.decompress(request.content))
            self.lines += [
                json.loads(value[1])["event"]
                for stream in body["streams"]
                for value in stream["values"]
            ]
        return httpx.Response(self.status, text="because")

    @contextmanager
    def shipper(self, buffer_max_bytes: int = 1 << 20) -> Iterator[LogShipper]:
        def report(event: str, fields: dict[str, object]) -> None:
            self.reported.append((event, fields))

        transport = httpx.MockTransport(self.respond)
        shipper = LogShipper("http://loki", "beast", buffer_max_bytes, report, transport)
        shipper.start()
        yield shipper
        shipper.stop()


def test_batch_has_three_labels_and_ids_as_metadata() -> None:
    batch = compress_records(
        [record(1, trace_id=TRACE, stage=None), record(2, level="error")], "beast"
    )
    body = json.loads(gzip.decompress(batch.body))
    by_level = {stream["stream"]["level"]: stream for stream in body["streams"]}
    assert by_level["info"]["stream"] == {"component": "api", "host": "beast", "level": "info"}
    at, line, metadata = by_level["info"]["values"][0]
    assert at == "1795420800000001000"
    assert json.loads(line)["trace_id"] == TRACE
    assert metadata == {"trace_id": TRACE}
    assert len(by_level["error"]["values"][0]) == 2
    assert batch.lines == 2


def test_unusual_values_do_not_break_the_batch() -> None:
    odd = record(1, session_id="\ud83d", text="\ud83d", path=object(), timestamp="yesterday")
    assert compress_records([odd], "beast").lines == 1


async def test_offered_records_arrive_in_order() -> None:
    loki = FakeLoki()
    with loki.shipper() as shipper:
        for number in range(12_000):
            shipper.offer(record(number))
        await wait_until(lambda: shipper.counts.sent == 12_000)
    assert loki.lines == [f"e{number}" for number in range(12_000)]


async def test_outage_loses_nothing_and_is_reported_once() -> None:
    loki = FakeLoki()
    loki.is_down = True
    with loki.shipper() as shipper:
        shipper.offer(record(1))
        await wait_until(loki.was_called.is_set)
        shipper.offer(record(2))
        loki.is_down = False
        await wait_until(lambda: shipper.counts.sent == 2)
    assert loki.lines == ["e1", "e2"]
    assert loki.reported == [("loki_away", {"reason": "no route"}), ("loki_back", {"dropped": 0})]


async def test_full_buffer_drops_and_counts_the_oldest() -> None:
    loki = FakeLoki()
    loki.is_down = True
    with loki.shipper(buffer_max_bytes=600_000) as shipper:  # a few of ten batches
        for number in range(20_000):
            shipper.offer(record(number, text=secrets.token_hex(50)))
        await wait_until(lambda: shipper.counts.dropped > 0)
        loki.is_down = False
        await wait_until(lambda: shipper.counts.sent + shipper.counts.dropped == 20_000)
        assert 0 < shipper.counts.sent < 20_000
        await wait_until(
            lambda: ("loki_back", {"dropped": shipper.counts.dropped}) in loki.reported
        )
    assert loki.lines[-1] == "e19999"


async def test_permanently_refused_batch_does_not_block_the_next() -> None:
    loki = FakeLoki()
    loki.status = 400
    with loki.shipper() as shipper:
        shipper.offer(record(1))
        await wait_until(lambda: shipper.counts.dropped == 1)
        loki.status = 204
        shipper.offer(record(2))
        await wait_until(lambda: shipper.counts.sent == 1)
    assert loki.lines == ["e2"]
    assert loki.reported == [("loki_refused", {"reason": "status 400: because", "lines": 1})]


def test_last_records_are_sent_at_shutdown() -> None:
    loki = FakeLoki()
    with loki.shipper() as shipper:
        shipper.offer(record(1))
    assert loki.lines == ["e1"]

"""Records reach Loki in batches; while it is away they are kept, and what is not is counted."""

from __future__ import annotations

import gzip
import json
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx

from barnabee.clients.loki_push import Shipper, pack
from support.wait import until

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
    """Takes what is pushed while it is up."""

    def __init__(self) -> None:
        self.status = 204
        self.away = False
        self.lines: list[str] = []
        self.told: list[tuple[str, dict[str, object]]] = []
        self.asked = threading.Event()

    def respond(self, request: httpx.Request) -> httpx.Response:
        self.asked.set()
        if self.away:
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
    def shipper(self, buffer_max_bytes: int = 1 << 20) -> Iterator[Shipper]:
        def tell(event: str, fields: dict[str, object]) -> None:
            self.told.append((event, fields))

        transport = httpx.MockTransport(self.respond)
        shipper = Shipper("http://loki", "beast", buffer_max_bytes, tell, transport)
        shipper.start()
        yield shipper
        shipper.stop()


def test_labels_are_three_and_ids_are_metadata() -> None:
    batch = pack([record(1, trace_id=TRACE, stage=None), record(2, level="error")], "beast")
    body = json.loads(gzip.decompress(batch.body))
    by_level = {stream["stream"]["level"]: stream for stream in body["streams"]}
    assert by_level["info"]["stream"] == {"component": "api", "host": "beast", "level": "info"}
    at, line, metadata = by_level["info"]["values"][0]
    assert at == "1795420800000001000"
    assert json.loads(line)["trace_id"] == TRACE
    assert metadata == {"trace_id": TRACE}
    assert len(by_level["error"]["values"][0]) == 2
    assert batch.lines == 2


def test_nothing_that_a_line_may_hold_spoils_its_batch() -> None:
    odd = record(1, session_id="\ud83d", text="\ud83d", path=object(), timestamp="yesterday")
    assert pack([odd], "beast").lines == 1


async def test_what_is_offered_arrives_in_order() -> None:
    loki = FakeLoki()
    with loki.shipper() as shipper:
        for number in range(12_000):
            shipper.offer(record(number))
        await until(lambda: shipper.counts.sent == 12_000)
    assert loki.lines == [f"e{number}" for number in range(12_000)]


async def test_an_outage_loses_nothing_and_is_told_once() -> None:
    loki = FakeLoki()
    loki.away = True
    with loki.shipper() as shipper:
        shipper.offer(record(1))
        await until(loki.asked.is_set)
        shipper.offer(record(2))
        loki.away = False
        await until(lambda: shipper.counts.sent == 2)
    assert loki.lines == ["e1", "e2"]
    assert loki.told == [("loki_away", {"reason": "no route"}), ("loki_back", {"dropped": 0})]


async def test_beyond_the_limit_the_oldest_go_and_are_counted() -> None:
    loki = FakeLoki()
    loki.away = True
    with loki.shipper(buffer_max_bytes=600_000) as shipper:  # some batches, and not all ten
        for number in range(20_000):
            shipper.offer(record(number, text=secrets.token_hex(50)))
        await until(lambda: shipper.counts.dropped > 0)
        loki.away = False
        await until(lambda: shipper.counts.sent + shipper.counts.dropped == 20_000)
        assert 0 < shipper.counts.sent < 20_000
        await until(lambda: ("loki_back", {"dropped": shipper.counts.dropped}) in loki.told)
    assert loki.lines[-1] == "e19999"


async def test_a_batch_that_is_refused_for_good_does_not_hold_the_next() -> None:
    loki = FakeLoki()
    loki.status = 400
    with loki.shipper() as shipper:
        shipper.offer(record(1))
        await until(lambda: shipper.counts.dropped == 1)
        loki.status = 204
        shipper.offer(record(2))
        await until(lambda: shipper.counts.sent == 1)
    assert loki.lines == ["e2"]
    assert loki.told == [("loki_refused", {"reason": "status 400: because", "lines": 1})]


def test_what_was_offered_last_is_sent_at_the_end() -> None:
    loki = FakeLoki()
    with loki.shipper() as shipper:
        shipper.offer(record(1))
    assert loki.lines == ["e1"]

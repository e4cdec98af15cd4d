"""Load generator: keeps N connections busy with one request, counts and times responses.

A separate process with little work per request, so that the server is the bottleneck. Prints
{"rate": requests per second, "p50_ms": …, "p99_ms": …, "failed": …}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time

import uvloop


class Client(asyncio.Protocol):
    """Connection that sends the next request after each response."""

    def __init__(self, request: bytes, until_s: float, done: asyncio.Event) -> None:
        self.request = request
        self.until_s = until_s
        self.done = done
        self.times_s: list[float] = []
        self.failed = 0
        self._begun = 0.0
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, body = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) < length:
            return
        now = time.perf_counter()
        self.times_s.append(now - self._begun)
        self.failed += not head.startswith(b"HTTP/1.1 200")
        self._buffer = b""
        if now < self.until_s:
            self._send()
        else:
            self.transport.close()
            self.done.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.done.set()

    def _send(self) -> None:
        self._begun = time.perf_counter()
        self.transport.write(self.request)


async def main(port: int, connections: int, seconds: float, token: str) -> None:
    loop = asyncio.get_running_loop()
    until_s = time.perf_counter() + seconds
    clients, events = [], []
    for number in range(connections):
        body = json.dumps(
            {"utterance": "turn on the kitchen light", "session_id": f"bench-{number}"}
        )
        request = (
            f"POST /v1/command HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
        ).encode()
        done = asyncio.Event()
        events.append(done)
        _, client = await loop.create_connection(
            lambda request=request, done=done: Client(request, until_s, done), "127.0.0.1", port
        )
        clients.append(client)
    begun = time.perf_counter()
    for done in events:
        await done.wait()
    took_s = time.perf_counter() - begun
    times_s = sorted(one for client in clients for one in client.times_s)
    result = {
        "rate": len(times_s) / took_s,
        "p50_ms": times_s[len(times_s) // 2] * 1000,
        "p99_ms": times_s[len(times_s) * 99 // 100] * 1000,
        "failed": sum(client.failed for client in clients),
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), sys.argv[4]))

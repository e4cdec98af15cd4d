"""Load generator of embeddings: keeps N connections busy with requests of one text.

usage: embed_load.py PORT PATH MODEL TOKEN CONNECTIONS SECONDS; reads the texts as JSON from stdin
and prints {"rate": requests per second, "p50_ms": …, "failed": …}.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from itertools import cycle

import uvloop
from load import Client


class CyclingClient(Client):
    """Sends the next of its requests each time."""

    def _send(self) -> None:
        self.request = next(self.requests)
        super()._send()

    def with_requests(self, requests: list[bytes]) -> CyclingClient:
        self.requests = cycle(requests)
        return self


def make_request(path: str, model: str, token: str, text: str) -> bytes:
    body = json.dumps({"model": model, "input": text})
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


async def main(port: int, path: str, model: str, token: str, count: int, seconds: float) -> None:
    texts = json.loads(sys.stdin.read())
    requests = [make_request(path, model, token, text) for text in texts]
    loop, begun = asyncio.get_running_loop(), time.perf_counter()
    clients, events = [], []
    for number in range(count):
        done = asyncio.Event()
        client = CyclingClient(b"", begun + seconds, done).with_requests(
            requests[number:] + requests[:number]
        )
        await loop.create_connection(lambda client=client: client, "127.0.0.1", port)
        clients.append(client)
        events.append(done)
    for done in events:
        await done.wait()
    times_s = sorted(one for client in clients for one in client.times_s)
    result = {
        "rate": len(times_s) / (time.perf_counter() - begun),
        "p50_ms": times_s[len(times_s) // 2] * 1000,
        "failed": sum(client.failed for client in clients),
    }
    sys.stdout.write(json.dumps(result))


if __name__ == "__main__":
    port, path, model, token, count, seconds = sys.argv[1:]
    uvloop.run(main(int(port), path, model, token, int(count), float(seconds)))

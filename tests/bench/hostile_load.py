"""Load generator: hostile connections without credentials.

A process of its own. Opens connections, at most `CONCURRENT` at once, of every kind in turn; each
stays until the server ends it or `HOLD_S` have passed. Prints how many of each kind were ended by
the server: {"kind": [ended, opened], …}.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
from collections import defaultdict

import uvloop

CONCURRENT = 1500
HOLD_S = 15.0
HEADER = b"GET /v1/turns HTTP/1.1\r\nHost: test\r\n"
WEBSOCKET = (
    b"GET /v1/talk HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(bytes(16)) + b"\r\n\r\n"
)
# What is sent at once, and again every second.
KINDS: dict[str, tuple[bytes, bytes]] = {
    "slow_header": (HEADER, b"a: b\r\n"),
    "trickled_header": (HEADER + b"Cookie: ", b"a"),
    "blank_lines": (b"\r\n", b"\r\n"),
    "half_open": (HEADER, b""),
    "silent": (b"", b""),
    "huge_header": (HEADER + b"a: bbbbbbbbbbbbbbbb\r\n" * 50_000, b""),
    "endless_header": (HEADER + b"Cookie: ", b"a" * 65_536),
    "cookie_of_a_mebibyte": (HEADER + b"Cookie: " + b"a=b; " * 209_715 + b"\r\n\r\n", b""),
    "escaped_cookie": (
        HEADER + b'Cookie: barnabee_session="' + b"\\a" * 131_072 + b'"\r\n\r\n',
        b"",
    ),
    "small_escaped_cookie": (
        HEADER + b'Cookie: barnabee_session="' + b"\\a" * 7000 + b'"\r\n\r\n',
        b"",
    ),
    "tls": (bytes.fromhex("160301020001000001fc0303") + bytes(500), b""),
    "junk": (os.urandom(4096), b""),
    "event_stream": (b"GET /api/events HTTP/1.1\r\nHost: test\r\n\r\n", b""),
    "websocket": (WEBSOCKET, b""),
    "stalled_body": (
        b"POST /api/login HTTP/1.1\r\nHost: test\r\nContent-Length: 500\r\n\r\n{",
        b"",
    ),
    "pipelined": (b"GET /v1/turns HTTP/1.1\r\nHost: test\r\n\r\n" * 2000, b""),
    "endless_chunks": (
        b"POST /v1/command HTTP/1.1\r\nHost: test\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"1\r\na\r\n",
    ),
}


async def open_one(port: int, first: bytes, then: bytes) -> bool:
    """Return whether the server ended the connection."""
    try:
        async with asyncio.timeout(HOLD_S):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first)
            repeat = asyncio.create_task(send_repeatedly(writer, then)) if then else None
            try:
                while await reader.read(65_536):
                    pass
            finally:
                if repeat:
                    repeat.cancel()
                writer.close()
    except TimeoutError:
        return False
    except OSError:
        return True
    return True


async def send_repeatedly(writer: asyncio.StreamWriter, data: bytes) -> None:
    while not writer.is_closing():
        await asyncio.sleep(1)
        writer.write(data)


async def main(port: int, count: int) -> None:
    free = asyncio.Semaphore(CONCURRENT)
    ended: dict[str, list[int]] = defaultdict(lambda: [0, 0])

    async def run(kind: str) -> None:
        async with free:
            is_ended = await open_one(port, *KINDS[kind])
            ended[kind][0] += is_ended
            ended[kind][1] += 1

    kinds = list(KINDS)
    async with asyncio.TaskGroup() as tasks:
        for number in range(count):
            tasks.create_task(run(kinds[number % len(kinds)]))
    sys.stdout.write(json.dumps(ended))


if __name__ == "__main__":
    uvloop.run(main(int(sys.argv[1]), int(sys.argv[2])))

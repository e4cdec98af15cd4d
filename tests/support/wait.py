"""Waiting for conditions."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import TypeVar

T = TypeVar("T")
LAST_RESORT_S = 120.0  # fails only a test whose condition never holds, also on a slow machine


_returned_ports: set[int] = set()


def find_free_port() -> int:
    """Return a loopback TCP port that is free now, a different one at every call."""
    while True:
        with closing(socket.socket()) as probe:
            probe.bind(("127.0.0.1", 0))
            port = int(probe.getsockname()[1])
        if port not in _returned_ports:
            _returned_ports.add(port)
            return port


async def eventually(
    question: Callable[[], Awaitable[T]],
    *,
    within_s: float = LAST_RESORT_S,
    every_s: float = 0.05,
) -> T:
    """Call until the result is truthy; AssertionError with the last result or error otherwise."""
    deadline = time.monotonic() + within_s
    last: object = None
    while time.monotonic() < deadline:
        try:
            answer = await question()
        except (OSError, AssertionError, LookupError, ValueError) as error:
            last = error
        else:
            if answer:
                return answer
            last = answer
        await asyncio.sleep(every_s)
    msg = f"not within {within_s} s; last seen: {last!r}"
    raise AssertionError(msg)


async def wait_until(true: Callable[[], bool], *, within_s: float = LAST_RESORT_S) -> None:
    """Wait until a condition inside this process holds."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.005)

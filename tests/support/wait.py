"""Waiting for something to become true, with a deadline instead of a guess."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from typing import TypeVar

T = TypeVar("T")


def free_port() -> int:
    """Return a TCP port on loopback that nobody listens on now."""
    with closing(socket.socket()) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def eventually(
    question: Callable[[], Awaitable[T]], *, within_s: float, every_s: float = 0.05
) -> T:
    """Ask until the answer is truthy; AssertionError with the last answer or error otherwise."""
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


async def until(true: Callable[[], bool], *, within_s: float = 15) -> None:
    """Wait until a condition inside this process holds."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, f"not within {within_s} s"
        await asyncio.sleep(0.005)

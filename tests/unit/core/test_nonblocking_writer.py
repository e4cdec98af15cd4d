"""A line is written at once when that cannot block, in order later otherwise, or counted."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from barnabee.core.nonblocking_writer import Outlet
from support.wait import until

MANY = 10_000


class Pipe:
    """A pipe whose reader reads when it is told to."""

    def __init__(self) -> None:
        self.reader, writer = os.pipe()
        self.stream: TextIO = os.fdopen(writer, "w")

    def read(self) -> bytes:
        os.set_blocking(self.reader, False)
        with suppress(BlockingIOError):
            return os.read(self.reader, 1 << 20)
        return b""

    def close(self) -> None:
        with suppress(OSError):
            os.close(self.reader)
        self.stream.close()


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    found = Pipe()
    yield found
    found.close()


def notice(lines: int) -> str:
    return f"dropped {lines}"


async def everything(pipe: Pipe, end: bytes) -> list[str]:
    read = bytearray()

    def ended() -> bool:
        read.extend(pipe.read())
        return read.endswith(end)

    await until(ended)
    return read.decode().split("\n")[:-1]


def test_a_line_is_in_the_pipe_when_write_returns(pipe: Pipe) -> None:
    Outlet(pipe.stream, MANY, notice).write("one é")
    assert pipe.read() == "one é\n".encode()


async def test_a_reader_that_stopped_holds_nobody_and_gets_every_line_in_order(pipe: Pipe) -> None:
    outlet = Outlet(pipe.stream, MANY, notice)
    lines = [f"{number} " + "x" * 200 for number in range(5000)]  # a pipe has room for 320
    begun = time.perf_counter()
    for line in lines:
        outlet.write(line)
    assert time.perf_counter() - begun < 5  # it would never end
    assert await everything(pipe, b"4999 " + b"x" * 200 + b"\n") == lines
    assert outlet.dropped == 0


async def test_lines_beyond_the_limit_are_counted_and_the_log_says_so(pipe: Pipe) -> None:
    outlet = Outlet(pipe.stream, 10, notice)
    for number in range(2000):
        outlet.write(f"{number} " + "x" * 200)
    read = bytearray()

    def accounted() -> int:
        read.extend(pipe.read())
        whole = read.decode().split("\n")[:-1]
        told = [int(line.split()[1]) for line in whole if line.startswith("dropped")]
        return len(whole) - len(told) + sum(told)

    await until(lambda: accounted() == 2000)
    assert 0 < outlet.dropped < 2000


async def test_a_line_too_long_to_be_written_at_once_comes_whole_and_in_its_place(
    pipe: Pipe,
) -> None:
    outlet = Outlet(pipe.stream, MANY, notice)
    for line in ("before", "y" * 300_000, "after"):
        outlet.write(line)
    assert await everything(pipe, b"after\n") == ["before", "y" * 300_000, "after"]


def test_a_reader_that_is_gone_is_no_error(pipe: Pipe) -> None:
    outlet = Outlet(pipe.stream, MANY, notice)
    os.close(pipe.reader)
    outlet.write("nobody")
    assert outlet.dropped == 1


def test_half_a_surrogate_pair_is_no_error(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        Outlet(file, MANY, notice).write("\ud83d")
        assert (tmp_path / "log").read_text() == "?\n"

"""Non-blocking writer: direct writes, buffering, order and dropped lines."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TextIO

import pytest

from barnabee.core.logging import NonblockingWriter
from support.wait import wait_until

MANY = 10_000


class Pipe:
    """A pipe that the test reads."""

    def __init__(self) -> None:
        self.reader, write_end = os.pipe()
        self.stream: TextIO = os.fdopen(write_end, "w")

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
    pipe = Pipe()
    yield pipe
    pipe.close()


def make_notice(lines: int) -> str:
    return f"dropped {lines}"


async def read_until(pipe: Pipe, end: bytes) -> list[str]:
    read = bytearray()

    def has_ended() -> bool:
        read.extend(pipe.read())
        return read.endswith(end)

    await wait_until(has_ended)
    return read.decode().split("\n")[:-1]


def test_a_line_is_in_the_pipe_when_write_returns(pipe: Pipe) -> None:
    NonblockingWriter(pipe.stream, MANY, make_notice).write("one é")
    assert pipe.read() == "one é\n".encode()


async def test_a_stopped_reader_does_not_block_and_gets_every_line_in_order(pipe: Pipe) -> None:
    writer = NonblockingWriter(pipe.stream, MANY, make_notice)
    lines = [f"{number} " + "x" * 200 for number in range(5000)]  # a pipe has room for 320
    for line in lines:  # a blocking write would never return
        writer.write(line)
    assert await read_until(pipe, b"4999 " + b"x" * 200 + b"\n") == lines
    assert writer.dropped == 0


async def test_lines_beyond_the_limit_are_counted_and_reported(pipe: Pipe) -> None:
    writer = NonblockingWriter(pipe.stream, 10, make_notice)
    for number in range(2000):
        writer.write(f"{number} " + "x" * 200)
    read = bytearray()

    def count_lines() -> int:
        read.extend(pipe.read())
        lines = read.decode().split("\n")[:-1]
        dropped = [int(line.split()[1]) for line in lines if line.startswith("dropped")]
        return len(lines) - len(dropped) + sum(dropped)

    await wait_until(lambda: count_lines() == 2000)
    assert 0 < writer.dropped < 2000


async def test_a_line_longer_than_the_pipe_is_written_whole_and_in_order(
    pipe: Pipe,
) -> None:
    writer = NonblockingWriter(pipe.stream, MANY, make_notice)
    for line in ("before", "y" * 300_000, "after"):
        writer.write(line)
    assert await read_until(pipe, b"after\n") == ["before", "y" * 300_000, "after"]


def test_a_closed_pipe_is_no_error(pipe: Pipe) -> None:
    writer = NonblockingWriter(pipe.stream, MANY, make_notice)
    os.close(pipe.reader)
    writer.write("unread")
    assert writer.dropped == 1


def test_a_lone_surrogate_is_no_error(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as file:
        NonblockingWriter(file, MANY, make_notice).write("\ud83d")
        assert (tmp_path / "log").read_text() == "?\n"

"""The Redis client: addresses, connection failures and protocol errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from barnabee.core.errors import DependencyDown, SettingInvalid
from barnabee.core.redis_client import RedisClient
from support.wait import find_free_port


@pytest.mark.parametrize("url", ["", "http://x", "redis://x:notaport", "redis://x?foo=1"])
def test_an_invalid_url_names_the_setting(url: str) -> None:
    with pytest.raises(SettingInvalid, match="REDIS_URL"):
        RedisClient(url)


async def test_a_refused_connection_is_reported() -> None:
    client = RedisClient(f"redis://127.0.0.1:{find_free_port()}/0")

    with pytest.raises(DependencyDown, match="redis does not answer"):
        await client.ping()


async def answer(
    content: bytes, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    await reader.read(1000)
    writer.write(content)
    await writer.drain()
    await reader.read(1000)
    writer.close()


@asynccontextmanager
async def connect(content: bytes, timeout_s: float = 1.0) -> AsyncIterator[RedisClient]:
    """Yield a client of a server that answers the first request with `content`."""
    server = await asyncio.start_server(lambda *ends: answer(content, *ends), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    client = RedisClient(f"redis://127.0.0.1:{port}/0", timeout_s=timeout_s)
    try:
        yield client
    finally:
        await client.aclose()
        server.close()


async def test_a_unix_socket_is_used(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    server = await asyncio.start_unix_server(lambda *ends: answer(b"+PONG\r\n", *ends), path)
    client = RedisClient(f"unix://{path}")

    await client.ping()

    await client.aclose()
    server.close()


async def test_an_http_server_is_not_redis() -> None:
    async with connect(b"HTTP/1.1 400 Bad Request\r\n\r\n") as client:
        with pytest.raises(DependencyDown, match="Protocol error"):
            await client.ping()


async def test_a_silent_server_times_out_for_all_callers() -> None:
    async with connect(b"", timeout_s=0.1) as client:
        results = await asyncio.gather(*(client.ping() for _ in range(100)), return_exceptions=True)

    assert {type(result) for result in results} == {DependencyDown}
    assert {str(result).count("no reply for 0.1 s") for result in results} == {1}


async def test_an_error_reply_is_quoted() -> None:
    async with connect(b"-LOADING Redis is loading the dataset in memory\r\n") as client:
        with pytest.raises(DependencyDown, match="loading the dataset"):
            await client.ping()

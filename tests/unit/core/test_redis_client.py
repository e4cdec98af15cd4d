"""The Redis client: addresses, connection failures and protocol errors."""

from __future__ import annotations

import asyncio

import pytest

from barnabee.core.errors import DependencyDown, SettingInvalid
from barnabee.core.redis_client import RedisClient, RedisEndpoint
from support.wait import find_free_port


def test_a_url_with_login_and_database_is_parsed() -> None:
    endpoint = RedisEndpoint.parse("redis://ann:p%40ss@redis.lan:7000/3")

    assert (endpoint.host, endpoint.port) == ("redis.lan", 7000)
    assert endpoint.handshake == (("AUTH", "ann", "p@ss"), ("SELECT", 3))


def test_a_unix_socket_url_is_parsed() -> None:
    endpoint = RedisEndpoint.parse("unix:///run/redis.sock?db=2")

    assert endpoint.socket_path == "/run/redis.sock"
    assert endpoint.handshake == (("SELECT", 2),)


def test_a_plain_url_needs_no_handshake() -> None:
    assert RedisEndpoint.parse("redis://127.0.0.1") == RedisEndpoint("127.0.0.1", 6379, "", ())


@pytest.mark.parametrize("url", ["", "http://x", "redis://x:notaport", "redis://x/notadatabase"])
def test_an_invalid_url_names_the_setting(url: str) -> None:
    with pytest.raises(SettingInvalid, match="REDIS_URL"):
        RedisEndpoint.parse(url)


async def test_a_refused_connection_fails_now_and_during_the_retry_delay() -> None:
    client = RedisClient(f"redis://127.0.0.1:{find_free_port()}/0")

    with pytest.raises(DependencyDown, match="redis does not answer"):
        await client.ping()
    with pytest.raises(DependencyDown, match="redis does not answer"):
        await client.ping()


async def start_server(content: bytes) -> tuple[asyncio.Server, str]:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(content)
        await writer.drain()
        await reader.read(1000)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    return server, f"redis://127.0.0.1:{server.sockets[0].getsockname()[1]}/0"


async def test_an_http_server_is_not_redis() -> None:
    server, url = await start_server(b"HTTP/1.1 400 Bad Request\r\n\r\n")
    client = RedisClient(url)
    try:
        with pytest.raises(DependencyDown, match="does not speak Redis"):
            await client.ping()
    finally:
        await client.aclose()
        server.close()


async def test_a_silent_server_times_out() -> None:
    server, url = await start_server(b"")
    client = RedisClient(url, timeout_s=0.1)
    try:
        with pytest.raises(DependencyDown, match=r"no reply for 0\.1 s"):
            await client.ping()
    finally:
        await client.aclose()
        server.close()


async def test_an_error_reply_is_quoted() -> None:
    server, url = await start_server(b"-LOADING Redis is loading the dataset in memory\r\n")
    client = RedisClient(url)
    try:
        with pytest.raises(DependencyDown, match="LOADING"):
            await client.ping()
    finally:
        await client.aclose()
        server.close()
